"""Compares what a model is asked with what it was made for: `monitor`."""
