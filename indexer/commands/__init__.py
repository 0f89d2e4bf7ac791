"""One module per command of ``indexer``."""
