"""Reusable model state: in cells of the key-value cache, in RAM, on disk."""
