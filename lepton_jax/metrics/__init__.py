"""Metrics: measures of a model's outputs over a split. Contract: `metric.py`."""
