"""Metrics, and the evaluation of a state on a split: every example counted once."""
