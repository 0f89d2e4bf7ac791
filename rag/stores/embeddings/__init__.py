"""Sets of embeddings, the cuts they come with, and embeddings that are there already."""
