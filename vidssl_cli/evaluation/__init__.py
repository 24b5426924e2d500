"""Protocols and their results: studies, kept features, records, tables."""
