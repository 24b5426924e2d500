"""Recipes: models, reading, problems told by line, and what is known of data sets and papers."""
