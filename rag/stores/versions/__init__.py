"""Versions of documents: when each was active, what was, how they leave."""
