"""Draws the examples that came last, where a sample of the requests is kept."""

import base64
import html
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...observed.requests import KeptRequest

MOST = 12
"""Examples that are drawn of a version."""

_LONGEST = 160
"""Characters of a text that are shown."""


def draw_examples(
    requests: Iterable[KeptRequest],
    signature: Mapping[str, Any],
    labels: Sequence[str],
    read: Callable[[np.ndarray], str],
) -> str:
    """Draws images and texts with what was answered, as HTML; '' where there are none.

    Args:
      requests: the newest first.
      signature: of the bundle that answered.
      labels: the names of its classes.
      read: the text of tokens [T].
    """
    drawn: list[str] = []
    for request in requests:
        for row in reversed(range(len(next(iter(request.inputs.values()))))):
            inputs = {name: x[row] for name, x in request.inputs.items()}
            shown = _text(inputs, signature, read) or _image(inputs)
            if shown and len(drawn) < MOST:
                said = html.escape(_answer(request, row, labels))
                drawn.append(f"<figure>{shown}<figcaption>{said}</figcaption></figure>")
        if len(drawn) == MOST:
            break
    if not drawn:
        return ""
    lead = "A sample of the requests is kept; these came last, with the answers to them."
    return (
        f"<h2>The newest examples</h2><p class='lead'>{lead}</p>"
        f"<div class='examples'>{''.join(drawn)}</div>"
    )


def _text(
    inputs: Mapping[str, np.ndarray], signature: Mapping[str, Any], read: Callable[[Any], str]
) -> str:
    parts = (signature.get("text") or {}).get("inputs", {})
    if "tokens" not in parts:
        return ""
    tokens = inputs[parts["tokens"]]
    length = int(inputs[parts["length"]]) if "length" in parts else len(tokens)
    text = read(tokens[:length])
    return f"<p>{html.escape(text[:_LONGEST])}{'…' if len(text) > _LONGEST else ''}</p>"


def _image(inputs: Mapping[str, np.ndarray]) -> str:
    from PIL import Image

    for name, x in inputs.items():
        if x.ndim == 3 and x.shape[-1] in (1, 3) and min(x.shape[:2]) > 1:
            pixels = x if x.dtype == np.uint8 else np.clip(255 * x, 0, 255).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels.squeeze(-1) if x.shape[-1] == 1 else pixels).save(file, "PNG")
            coded = base64.b64encode(file.getvalue()).decode()
            return f"<img alt='{html.escape(name)}' src='data:image/png;base64,{coded}'>"
    return ""


def _answer(request: KeptRequest, row: int, labels: Sequence[str]) -> str:
    """Says what was answered: a class with how sure that is; '' of other kinds of answers."""
    label, chance = request.outputs.get("label"), request.outputs.get("probabilities")
    if label is None or chance is None or label.ndim != 1 or not labels:
        return ""
    said = labels[min(int(label[row]), len(labels) - 1)]
    return f"{said}, {float(chance[row].max()):.0%} sure"
