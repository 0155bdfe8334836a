"""Models: Flax NNX modules that know nothing of tasks, losses or devices.

A model is constructed as `Model(input_shape, outputs, *, KEYS..., rngs)` and called as
`model(x, noise)`: `noise` hands out random keys, one an example, in training and is None in
evaluation. Imports: layers, ops and what lies below them.
"""
