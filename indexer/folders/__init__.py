"""Folders: what is found in them, ignored, missing, and changes."""
