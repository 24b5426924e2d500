"""Recipes, known data sets, published figures."""
