"""Texinfo."""
