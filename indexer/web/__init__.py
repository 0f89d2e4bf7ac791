"""Documents from web servers."""
