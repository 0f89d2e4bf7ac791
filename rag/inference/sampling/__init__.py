"""Choosing tokens: llama.cpp's samplers, grammars for JSON and labels, stop strings."""
