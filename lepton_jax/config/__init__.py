"""A recipe for one run: its keys, its components, and what of it may vary."""
