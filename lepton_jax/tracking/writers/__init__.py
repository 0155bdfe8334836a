"""Views of the record in other tools: TensorBoard, MLflow, Weights & Biases.

A writer is a class or a function `(workdir, config, *, its config keys)`. What it returns is called
with `(step, values)`, and has a `close()` if it needs one. One with an `attach(attachments)` is
shown the pictures and tables of a measured run as well, before `close()`. A config names a writer
of your own as `my_pkg.module:name`.

At every start a writer is told the whole record so far, then each line as it is logged. It skips
what it has shown before. So a view never shows a step twice, and catches up on what a kill took
from it. One that fails is built anew and told the record in the same way; it never ends a run.
"""
