"""The queue of work, the uploads it brings, and what is forgotten of it."""
