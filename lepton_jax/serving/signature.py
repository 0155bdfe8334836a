"""The signature of a bundle: what goes in and comes out, checked before it is used."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import UNREADABLE, BundleError
from .files import read_object
from .images import RESIZE

_MOST_ELEMENTS = 1 << 28
_LONGEST_SIDE = 1 << 15
"""What a signature may ask for: elements of an input, and pixels of a side of an image."""


def read_signature(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads signature.json. Raises `BundleError` when the loader cannot use what it says."""
    signature = read_object(folder, "signature.json")
    try:
        _check_signature(signature)
    except UNREADABLE as e:
        said = f"is no signature ({type(e).__name__}: {e!s:.80})"
        raise BundleError(f"{os.fspath(folder)}/signature.json: {said}") from None
    return signature


def find_program(signature: Mapping[str, Any], program: str) -> dict[str, Any]:
    """Returns what a signature says of the program 'onnx', or 'int8/onnx' of a variant; {} where
    it has none.
    """
    variant, _, kind = program.rpartition("/")
    try:
        said = signature["variants"][variant] if variant else signature
        found = dict(said["programs"].get(kind) or {})
        if variant and "path" in found:
            named = [{}, {}] if kind == "stablehlo" else [found["inputs"], found["outputs"]]
            texts = [found["path"], *named[0].values(), *named[1].values()]
            if not all(isinstance(x, str) for x in texts):
                raise TypeError("expected texts")
        return found
    except UNREADABLE:
        return {}


def describe_field(declared: Mapping[str, Any]) -> str:
    """Describes an input as `uint8 [batch, 8, 8, 1]`."""
    return f"{declared['dtype']} [{', '.join(map(str, ['batch', *declared['shape']]))}]"


def _check_signature(signature: Mapping[str, Any]) -> None:
    """Raises one of `UNREADABLE` when what the loader reads of a signature is of another form."""

    def check(fits: bool, what: str) -> None:
        if not fits:
            raise ValueError(what)

    def whole(x: Any, most: int) -> bool:
        return type(x) is int and 0 <= x <= most

    check(isinstance(signature.get("answer", ""), str), "answer: expected a text")
    labels = signature["labels"]
    check(isinstance(labels, list) and all(isinstance(x, str) for x in labels), "labels: no texts")
    program = signature["programs"]["stablehlo"]
    check(isinstance(program["path"], str), "programs.stablehlo.path: expected a text")
    onnx = signature["programs"].get("onnx", {})
    check(isinstance(onnx, dict), "programs.onnx: expected an object")
    if "path" in onnx:
        texts = [onnx["path"], *onnx["inputs"].values(), *onnx["outputs"].values()]
        check(all(isinstance(x, str) for x in texts), "programs.onnx: expected texts")
        check(set(onnx["inputs"]) <= set(signature["inputs"]), "programs.onnx.inputs: no input")
    inputs = signature["inputs"]
    check(isinstance(inputs, dict) and bool(inputs), "inputs: there are none")
    for name, declared in inputs.items():
        shape = declared["shape"]
        fits = isinstance(shape, list) and all(whole(n, _MOST_ELEMENTS) for n in shape)
        fits = fits and len(shape) <= 8 and math.prod(shape) <= _MOST_ELEMENTS
        check(fits, f"inputs.{name}.shape: {shape!r:.60}")
        np.dtype(declared["dtype"])
    if decoding := signature.get("decoding"):
        check(decoding["input"] in inputs, "decoding.input: is no input")
        method = decoding.get("resize", RESIZE)
        check(method == RESIZE, f"decoding.resize: {method!r:.40}; this reader knows {RESIZE!r}")
        for name, arguments in decoding["steps"]:
            check(isinstance(name, str) and isinstance(arguments, dict), "decoding.steps: a step")
            sizes = (v for v in arguments.values() if not isinstance(v, str))
            check(all(whole(n, _LONGEST_SIDE) and n for n in sizes), "decoding.steps: a size")
    if text := signature.get("text"):
        check(whole(text["size"], _MOST_ELEMENTS) and text["size"] > 0, "text.size: no size")
        shapes = {"tokens": [text["size"]], "kinds": [text["size"]], "length": []}
        for part, field in text["inputs"].items():
            check(inputs[field]["shape"] == shapes[part], f"text.inputs.{part}: another shape")
        numbers = (text["pad"], text.get("unknown") or 0, text.get("begin") or 0)
        check(all(whole(n, 2**31 - 1) for n in numbers), "text: a token is no token")
        check({"pair", "long"} <= text.keys(), "text: needs 'pair' and 'long'")
