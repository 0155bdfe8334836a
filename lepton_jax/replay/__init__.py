"""Runs computed again, and runs compared: what in a record is not what its config, seed and data
give, where two runs part, and the way back from a bundle to the command that made it.
"""
