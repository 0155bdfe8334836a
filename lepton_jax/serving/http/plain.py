"""The route that takes what a person has, and answers in words: an image file, a text, a seed."""

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..batches.sizes import Arrays
from ..errors import InputError
from ..loader import Bundle
from .body import read_body
from .infer import answer
from .json_text import parse_request
from .server import noted_of, server_of

MOST_OTHERS = 5
"""Classes that an answer names beside the first."""

_UNTYPED = ("", "application/x-www-form-urlencoded")
"""Types that say nothing of a body: curl says the second of all that it sends."""

_HOW = "send a file as it is, `curl --data-binary @FILE`, or JSON, `curl -d '{\"text\": ...}'`"

MOST_TEXT = 100_000
"""Characters of a text."""


async def answer_plainly(request: Request) -> Response:
    """Answers one image file, text or seed, with its label where the model has labels."""
    name = request.path_params["model"]
    main = server_of(request).models.main(name)
    if main.writer is not None:
        raise InputError(f"{name!r:.80} goes on with a text: ask POST /v1/completions")
    bundle = main.bundle
    body = await read_body(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Decoding takes milliseconds, in which others are answered.
    async with server_of(request).decoding:
        inputs = await run_in_threadpool(read_plain, bundle, body, media_type)
    served, answered = await answer(request, name, inputs)
    first = {key: y[0] for key, y in answered.outputs.items()}
    return JSONResponse(
        {
            "model": name,
            "version": served.version,
            "bundle": served.bundle.id,
            "request_id": noted_of(request).request_id,
            "exact": answered.exact,
            "answer": say_answer(served.bundle, first),
        }
    )


def read_plain(bundle: Bundle, body: bytes, media_type: str) -> dict[str, np.ndarray]:
    """Makes inputs of one row of what a person has.

    JSON holds `text` (of a pair `[text, text]`), `image` in base64, or `seed`. Of the type
    text/plain the body is a text. Of a type that says nothing it is JSON if it begins so, else the
    text or the image file that the bundle takes.

    Raises:
      InputError: when it is not what the bundle takes.
    """
    if not body:
        raise InputError(f"the body is empty; {_HOW}")
    if media_type == "multipart/form-data":
        raise InputError(f"the body is a form of several parts; {_HOW}")
    untyped = media_type in _UNTYPED
    if media_type == "application/json" or (untyped and body.lstrip().startswith(b"{")):
        one = _read_object(bundle, body)
    elif media_type == "text/plain" or (bundle.takes_text and untyped):
        one = _encode_texts(bundle, [_decode_utf8(body)])
    else:
        try:
            one = _decode_image(bundle, body)
        except InputError as e:
            raise InputError(f"{e}; {_HOW}") from None
    return {name: np.asarray(x)[None] for name, x in one.items()}


def say_answer(bundle: Bundle, outputs: Arrays) -> dict[str, Any]:
    """Says the outputs for one row, without a batch axis, in words.

    Returns:
      Of a class `label`, `probability` and `others`; `objects`; `text`; an `image` as PNG in
      base64; or the outputs as lists.
    """
    kind = bundle.answer
    if kind == "class" and outputs["probabilities"].ndim == 1:
        return _say_class(bundle, outputs["probabilities"], int(outputs["label"]))
    if kind == "objects":
        return {"kind": kind, "objects": _say_objects(bundle, outputs)}
    if kind == "text" and bundle.takes_text:
        tokens = outputs["tokens"][: int(outputs["length"])]
        return {"kind": kind, "text": bundle.text(tokens)}
    if kind == "image":
        return {"kind": kind, "image": _encode_png(outputs["image"])}
    return {"kind": "numbers", "outputs": {k: _as_numbers(y) for k, y in outputs.items()}}


def _say_class(bundle: Bundle, probabilities: np.ndarray, label: int) -> dict[str, Any]:
    order = [int(i) for i in np.argsort(-probabilities, kind="stable") if i != label]
    others = [
        {"label": _name(bundle, i), "probability": float(probabilities[i])}
        for i in order[:MOST_OTHERS]
    ]
    return {
        "kind": "class",
        "label": _name(bundle, label),
        "probability": float(probabilities[label]),
        "others": others,
    }


def _say_objects(bundle: Bundle, outputs: Arrays) -> list[dict[str, Any]]:
    """Lists the objects of an image; `box` is [ymin, xmin, ymax, xmax] in [0, 1]."""
    rows = zip(outputs["boxes"], outputs["labels"], outputs["scores"], strict=True)
    return [
        {"label": _name(bundle, int(label)), "score": float(score), "box": box.tolist()}
        for box, label, score in rows
        if label >= 0
    ]


def _name(bundle: Bundle, label: int) -> str:
    if 0 <= label < len(bundle.labels):
        return bundle.labels[label]
    return bundle.text([label]) if bundle.takes_text else str(label)


def _as_numbers(y: np.ndarray) -> Any:
    """Returns an array as lists; what is not finite as null, for which JSON has no number."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        finite = y.astype(object)
        finite[~np.isfinite(y)] = None
        return finite.tolist()
    return y.tolist()


def _encode_png(image: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _read_object(bundle: Bundle, body: bytes) -> Mapping[str, np.ndarray]:
    said = parse_request(body)
    if not isinstance(said, dict) or len(said) != 1:
        raise InputError("expected an object with one of 'text', 'image' and 'seed'")
    ((what, value),) = said.items()
    if what == "text":
        texts = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) for text in texts):
            raise InputError("text: expected a text, or a list of two")
        return _encode_texts(bundle, texts)
    if what == "image" and isinstance(value, str):
        try:
            return _decode_image(bundle, base64.b64decode(value, validate=True))
        except ValueError:
            raise InputError("image: expected base64") from None
    if what == "seed":
        return _read_seed(bundle, value)
    raise InputError(f"expected 'text', 'image' in base64 or 'seed', got {what!r:.40}")


def _encode_texts(bundle: Bundle, texts: list[str]) -> Mapping[str, np.ndarray]:
    if sum(map(len, texts)) > MOST_TEXT:
        raise InputError(f"the text has more than {MOST_TEXT} characters")
    try:
        json.dumps(texts, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError("the text has half a character (a lone surrogate)") from None
    return bundle.encode(*texts)[0]


def _decode_utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InputError("the text is not UTF-8") from None


def _decode_image(bundle: Bundle, content: bytes) -> Mapping[str, np.ndarray]:
    image = bundle.decode(content)
    return {bundle.signature["decoding"]["input"]: image}


def _read_seed(bundle: Bundle, value: Any) -> Mapping[str, np.ndarray]:
    if bundle.signature["inputs"].keys() != {"seed"}:
        raise InputError("this model takes no seed")
    if type(value) is not int or not 0 <= value < 2**32:
        raise InputError("seed: expected a whole number from 0 to 4294967295")
    return {"seed": np.asarray(value, np.uint32)}


ROUTES = [Route("/models/{model}/answer", answer_plainly, methods=["POST"])]
