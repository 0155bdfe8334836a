"""Runs computed again, and runs compared: what in a record is not what its config, seed and data
give, and where two runs part.
"""
