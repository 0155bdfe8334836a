"""The trials of an experiment at work: packs, the lanes of their programs, and executors."""
