"""Options of the built-in evaluators: a module for each, and `shared` for what some share."""
