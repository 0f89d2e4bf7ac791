"""Diagrams, boards and mind maps."""
