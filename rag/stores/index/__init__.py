"""Vector index files: immutable bases, what changed since, generations on disk. None of it knows SQL."""
