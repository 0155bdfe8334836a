"""The report of an experiment: its page and curves, and `watch` in the terminal."""
