"""Options of the built-in samplers: a module for each, and `shared` for what some share."""
