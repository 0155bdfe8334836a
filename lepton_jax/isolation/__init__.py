"""A bundle's program in a process of its own, where the lab does not exist and limits stand."""
