"""One module per file format: bytes in, a stream of blocks out."""
