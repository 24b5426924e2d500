"""A network and its folder: weights, card, encoder, embeddings, and the device it runs on."""
