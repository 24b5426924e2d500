"""From vectors to hits: FAISS indexes, queries, retrieval."""
