"""What there is to choose: components, config keys and recipes, read from their source.

Nothing is imported for it, so that an answer does not wait for JAX.
"""
