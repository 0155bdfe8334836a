"""The question of an experiment: what varies, and the trials that come of it."""
