"""What several backbones use."""
