"""The built-in pretexts."""
