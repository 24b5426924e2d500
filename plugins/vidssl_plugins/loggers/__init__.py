"""The built-in loggers."""
