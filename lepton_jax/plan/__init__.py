"""Planning: what a run needs, and whether it fits, before it is started anywhere.

Without a topology this machine is measured; with one the real training step is compiled by the
real compiler of an accelerator that need not be here.
"""
