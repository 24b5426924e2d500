"""Options of the built-in backbones: a module for each, and `shared` for what some share."""
