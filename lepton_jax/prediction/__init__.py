"""Predictions by a bundle: raw inputs from what a user names, and what the outputs say of each."""
