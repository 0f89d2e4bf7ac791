"""LaTeX, from tokens to blocks."""
