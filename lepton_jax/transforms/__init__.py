"""Device transforms: JAX on a batch inside the compiled step.

Each is `(batch, noise, *, keys...) -> batch` and touches the field `image` `[B, H, W, C]`, uint8 or
floating, keeping its shape and dtype (`scale` apart). Augmentation draws from `noise`, one key an
example; where `noise` is None (evaluation, serving) it changes nothing. Only `mix.py` uses another
example: always the next one of the global batch, however the batch is sharded.
"""
