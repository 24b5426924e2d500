"""Options of the built-in decoders: a module for each."""
