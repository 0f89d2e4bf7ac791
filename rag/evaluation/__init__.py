"""Measuring retrieval and answers on labelled questions; the measures are defined in ``docs/evaluation.md``."""
