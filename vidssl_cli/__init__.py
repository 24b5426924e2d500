"""vidssl learns video representations from unlabelled video and searches video with them."""
