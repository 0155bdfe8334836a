"""Metrics: what is measured of a model's outputs."""
