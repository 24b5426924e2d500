"""What several evaluators use."""
