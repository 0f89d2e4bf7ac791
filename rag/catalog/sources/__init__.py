"""Where model files come from: a hub, wheels of a package index, plain URLs, folders."""
