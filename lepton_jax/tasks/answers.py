"""Of what kind the answers of a task are: it declares one of these as `answer`.

A bundle, `verify`, `predict` and what a record says of the worst examples go by it.
"""

ANSWERS = {
    "class": ("label", "probabilities"),
    "objects": ("boxes", "labels", "scores"),
    "text": ("tokens", "length"),
    "image": ("image",),
    "numbers": (),
}
"""By kind, the outputs that are the answer; there may be others. A task that declares nothing
gives numbers.
"""
