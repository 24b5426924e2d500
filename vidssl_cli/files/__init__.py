"""Durable, checked files: written whole, verified before they are read."""
