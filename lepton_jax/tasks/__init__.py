"""Tasks: how a batch becomes a loss, metrics and predictions. One file a task.

A task is constructed with the `DataSpec` of its data and its config keys, and has
`input_shape` and `outputs` (what the model is built for), `input_fields` (what a prediction
needs), `answer` (of what kind it is), `loss(model, batch, noise)`, `predict(model, batch)` and
`metrics()`. It returns sums and weights, never means; `noise` is None in evaluation.
"""
