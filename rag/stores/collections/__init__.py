"""Collections: how they begin, are found by name, renamed, and held by one writer at a time."""
