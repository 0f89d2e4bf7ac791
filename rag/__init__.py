"""Plumbline: retrieve passages, ground answers in them. Start with ``rag.factory``."""

__version__ = "0.1.0"
