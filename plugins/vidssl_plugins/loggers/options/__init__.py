"""Options of the built-in loggers: a module for each."""
