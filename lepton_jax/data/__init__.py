"""Data: random-access sources, their decoded columns, and the order in which they are trained on.

    Source --carve, decode, cache--> Dataset of Columns --Order--> batch k = f(config, seed, k)

Nothing here imports JAX, so that worker processes never touch an accelerator. (Grain imports it,
where there is something to stream, but starts no backend.)
"""
