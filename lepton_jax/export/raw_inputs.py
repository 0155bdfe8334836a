"""How files and texts become a bundle's inputs, as its signature says it to every loader."""

from typing import Any

import numpy as np

from lepton_jax.export.exportable import Exportable
from lepton_jax.serving.images import RESIZE

MODES = {"grayscale": "L", "rgb": "RGB"}
"""Host transforms that change the channels, in Pillow's words."""

OF_THE_TRUTH = ("pad_boxes", "drop_empty_boxes")
"""Host transforms that leave the image as it is."""


def describe_inputs(model: Exportable) -> dict[str, Any]:
    """Returns what goes into a model and of what kind its answers are, as signature.json says it:
    `inputs` of one example, `batch_axis`, which a batch of them has beside those of one, `decoding`
    of images, `text` where texts are taken, `answer`, `labels`.
    """
    signature = {
        "answer": model.answer,
        "batch_axis": 0,
        "decoding": _image_decoding(model),
        "inputs": {
            k: {"dtype": str(np.dtype(s.dtype)), "shape": list(s.shape)}
            for k, s in model.input_fields.items()
        },
        "labels": list(model.classes),
    }
    text = _text_encoding(model)
    return {**signature, "text": text} if text else signature


def _image_decoding(model: Exportable) -> dict[str, Any] | None:
    """Returns the steps from an image file to the input: the host pipeline, then mode and size.

    Returns None where there is no one image input. Also None where the pipeline has steps of the
    user's own, whose code does not travel with a bundle: such a bundle takes arrays.
    """
    images = {
        name: spec.shape
        for name, spec in model.input_fields.items()
        if len(spec.shape) == 3 and spec.shape[-1] in (1, 3) and np.dtype(spec.dtype) == np.uint8
    }
    if len(images) != 1 or len(model.input_fields) != 1:
        return None
    ((name, (height, width, channels)),) = images.items()
    steps: list[tuple[str, dict[str, Any]]] = []
    for transform in model.decode:
        keys = dict(transform.keys)
        if transform.name in OF_THE_TRUTH:
            continue
        if transform.name in MODES:
            steps.append(("mode", {"mode": MODES[transform.name]}))
        elif transform.name in ("resize", "center_crop"):
            steps.append((transform.name, {**keys, "width": keys["width"] or keys["height"]}))
        elif transform.name == "resize_shorter":
            steps.append((transform.name, keys))
        else:
            return None
    # What these two ask for is already so after most pipelines: they are for files of other kinds.
    steps.append(("mode", {"mode": "L" if channels == 1 else "RGB"}))
    steps.append(("resize", {"height": height, "width": width}))
    return {"input": name, "resize": RESIZE, "steps": steps}


def _text_encoding(model: Exportable) -> dict[str, Any] | None:
    """Returns how a text becomes the inputs.

    Returns None where the data has no texts, or the model takes inputs that are not made of them.
    """
    if model.texts is None:
        return None
    encoding = model.texts.served
    fields = {part: f for part, f in encoding["inputs"].items() if f in model.input_fields}
    if set(fields.values()) != set(model.input_fields):
        return None
    return {**encoding, "inputs": fields}
