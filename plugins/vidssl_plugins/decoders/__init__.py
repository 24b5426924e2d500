"""The built-in decoders of video files."""
