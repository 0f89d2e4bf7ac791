"""Texts and queries as terms, and BM25 over them by FTS5."""
