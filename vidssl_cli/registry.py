"""Finds the installed plugins and the options they offer."""
