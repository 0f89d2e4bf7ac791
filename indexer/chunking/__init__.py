"""Chunks from blocks."""
