"""What several pretext tasks use."""
