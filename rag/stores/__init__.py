"""Where everything is kept: SQL is the truth; the vector index beside it is a cache that can always be rebuilt."""
