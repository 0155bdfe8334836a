"""Placement: takes a pure step and says where it runs. Knows nothing of tasks, models or files."""
