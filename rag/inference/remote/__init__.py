"""The same interface over any OpenAI-compatible server."""
