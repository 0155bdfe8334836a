"""Runs, bundles and answers as Python objects, which a notebook shows: what `load` returns.

Nothing is read before it is asked for, and importing this room imports no JAX.
"""
