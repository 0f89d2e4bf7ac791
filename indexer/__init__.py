"""Documents in: find, parse, chunk, embed and store them."""
