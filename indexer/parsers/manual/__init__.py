"""Manual pages of Unix."""
