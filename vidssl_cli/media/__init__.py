"""Between a file and its frames: probing, decoding, encoding, optical flow."""
