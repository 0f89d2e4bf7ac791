"""Backups: one consistent, sealed archive, written while others serve, and brought up elsewhere."""
