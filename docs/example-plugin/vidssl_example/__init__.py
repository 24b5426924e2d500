"""An example plugin for vidssl."""
