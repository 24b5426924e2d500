"""Options of the plugins of this package, a module for each method."""
