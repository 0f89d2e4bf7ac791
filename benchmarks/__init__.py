"""Speed and memory beside peers: ``python -m benchmarks.NAME --help`` for one, ``make bench`` for all."""
