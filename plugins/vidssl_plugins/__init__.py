"""The built-in plugins; they enter by the same entry points as anyone else's."""
