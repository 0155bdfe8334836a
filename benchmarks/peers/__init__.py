"""The peers of `python -m benchmarks.serving`, each run by an environment of its own."""
