"""Options of the built-in pretext tasks: a module for each, and `shared` for what some share."""
