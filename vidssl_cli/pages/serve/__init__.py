"""The search page: a local web application over an index."""
