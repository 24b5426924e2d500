"""The training loop and its run: pre-training, fine-tuning, checkpoints."""
