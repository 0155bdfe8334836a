"""Raw inputs of a bundle: from images, `.npy` files, arrays, seeds, texts or its examples."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from tokenize import TokenError
from typing import Any

import numpy as np

from lepton_jax.console import say
from lepton_jax.data.text.tokenizer import check_text
from lepton_jax.errors import UserError, describe_error, quote
from lepton_jax.serving.loader import Bundle


@dataclass(frozen=True)
class RawInput:
    """One input as the bundle takes it, without the batch axis."""

    name: str
    fields: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Fields of the data that the outputs are named after; empty where the truth is not known."""


def gather_inputs(bundle: Bundle, inputs: Sequence[Any], examples: int) -> list[RawInput]:
    """Reads the bundle's first `examples` held-out examples, then the inputs that a user names.

    Raises:
      UserError: when an input cannot be read or is not what the bundle takes.
      InputError: when the bundle cannot decode it.
    """
    raw = _examples(bundle, examples) if examples else []
    for i, source in enumerate(inputs):
        raw += _read(bundle, i, source)
    if not raw:
        raise UserError(f"there is no example in {', '.join(map(str, inputs)) or 'the bundle'}")
    return raw


def _read(bundle: Bundle, i: int, source: Any) -> list[RawInput]:
    """Reads the `i`-th input that a user names: one, or as many as its array holds."""
    if isinstance(source, Mapping):
        return _from_fields(bundle, f"input {i}", source)
    given = type(source).__name__
    takes_seeds = bundle.signature["inputs"].keys() == {"seed"}
    if takes_seeds and isinstance(source, int | np.integer):
        source = str(source)
    if _is_picture(source):
        source, name = _encode_picture(source, f"image {i}"), f"image {i}"
    elif isinstance(source, bytes):
        name = f"image {i}"
    elif isinstance(source, str | os.PathLike):
        source = name = os.fspath(source)
    elif hasattr(source, "__array__"):
        return _from_array(bundle, f"array {i}", np.asarray(source))
    else:
        raise UserError(f"input {i}: expected {expected_input(bundle)} or an array, got {given}")
    if name.endswith(".npy"):
        return _from_array(bundle, name, _read_array(os.path.expanduser(name)))
    if bundle.takes_text:
        if source is not name or os.path.isfile(name):
            what = f"{name} is a file" if source is name else f"input {i} is of type {given}"
            raise UserError(f"{what}; this bundle answers texts: give the text itself")
        check_text(name)
        encoded, cut = bundle.encode(*name.split("\t"))
        _say_unknown(bundle, name, encoded)
        return [RawInput(f"{name} (cut)" if cut else name, encoded)]
    if takes_seeds:
        return [RawInput(f"seed {name}", {"seed": _parse_seed(name)})]
    image = bundle.decode(os.path.expanduser(source) if source is name else source)
    return [RawInput(name, {next(iter(bundle.signature["inputs"])): image})]


def _is_picture(source: Any) -> bool:
    """Tells whether it is an image of Pillow, which only who has imported Pillow has."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(source, pillow.Image)


def _encode_picture(picture: Any, name: str) -> bytes:
    """Returns an image of Pillow as the bytes of a PNG, turned as its EXIF says."""
    from PIL import ImageOps

    if picture.mode.startswith(("I", "F")):
        raise UserError(f"{name}: {picture.mode!r} pixels; expected 8 bits a channel")
    upright = ImageOps.exif_transpose(picture)
    file = io.BytesIO()
    upright.convert("L" if picture.mode in ("1", "L", "LA") else "RGB").save(file, "PNG")
    return file.getvalue()


def _say_unknown(bundle: Bundle, text: str, encoded: Mapping[str, np.ndarray]) -> None:
    """Says how many tokens of a text the vocabulary of a bundle lacks, if any."""
    how = bundle.signature["text"]
    names, unknown = how["inputs"], how.get("unknown")
    length = int(encoded[names["length"]]) if "length" in names else None
    tokens = encoded[names["tokens"]][:length]
    lacking = 0 if unknown is None else int((tokens == unknown).sum())
    if lacking:
        say(f"{quote(text, 60)}: the vocabulary lacks {lacking:,} of its {len(tokens):,} tokens")


def expected_input(bundle: Bundle) -> str:
    """Returns a placeholder for one input of the bundle on a command line: `FILE.png`."""
    if bundle.takes_text:
        return "'TEXT'"
    if bundle.signature["inputs"].keys() == {"seed"}:
        return "SEED"
    images = [s for s in bundle.signature["inputs"].values() if s["dtype"] == "uint8"]
    return "FILE.png" if any(len(s["shape"]) == 3 for s in images) else "FILE.npy"


def _examples(bundle: Bundle, count: int) -> list[RawInput]:
    stored = bundle.examples()
    raw = []
    for i in _choose(count, len(next(iter(stored["inputs"].values()))), stored["truth"]):
        fields = {k: v[i] for k, v in stored["inputs"].items()}
        truth = {k: v[i] for k, v in stored["truth"].items()}
        raw.append(RawInput(_example_name(bundle, i, fields), fields, truth))
    return raw


def _choose(count: int, total: int, truth: Mapping[str, np.ndarray]) -> Sequence[int]:
    """Returns which of `total` examples are shown: the first ones; of examples sorted by class some
    of all classes.
    """
    labels = truth.get("label")
    if count < total and labels is not None and labels.ndim == 1 and (np.diff(labels) >= 0).all():
        return np.linspace(0, total - 1, count).astype(int).tolist()
    return range(min(count, total))


def _example_name(bundle: Bundle, i: int, fields: Mapping[str, np.ndarray]) -> str:
    """Returns an example's number, and its text where it is one."""
    if not bundle.takes_text:
        return f"example {i}"
    names = bundle.signature["text"]["inputs"]
    tokens = fields[names["tokens"]]
    length = int(fields[names["length"]]) if "length" in names else len(tokens)
    return f"example {i}: {bundle.text(tokens[:length])}"


def _from_array(bundle: Bundle, name: str, array: np.ndarray) -> list[RawInput]:
    """Takes an array as one input `[...]` or as a batch `[N, ...]` of them."""
    declared = bundle.signature["inputs"]
    if len(declared) != 1:
        if bundle.takes_text:
            raise UserError(f"{name}: this bundle answers texts: give the text itself")
        raise UserError(f"{name}: this bundle takes {len(declared)} inputs, not one array")
    ((key, spec),) = declared.items()
    rank = len(spec["shape"])
    batch = array[None] if array.ndim == rank else array
    if list(batch.shape[1:]) != spec["shape"] or batch.dtype != np.dtype(spec["dtype"]):
        raise UserError(
            f"{name}: expected {spec['dtype']} {spec['shape']} or a batch of those, got "
            f"{array.dtype} {list(array.shape)}"
        )
    names = [name] if batch is not array else [f"{name}[{i}]" for i in range(len(batch))]
    return [RawInput(n, {key: x}) for n, x in zip(names, batch, strict=True)]


def _from_fields(bundle: Bundle, name: str, fields: Mapping[str, Any]) -> list[RawInput]:
    """Takes a batch of the bundle's inputs by their names, `[N, ...]` each; others are left out."""
    declared = bundle.signature["inputs"]
    if missing := [key for key in declared if key not in fields]:
        raise UserError(
            f"{name}: the model takes {', '.join(declared)}; {', '.join(missing)} is not among "
            f"{', '.join(map(str, fields)) or 'nothing'}"
        )
    rows = {key: np.asarray(fields[key]) for key in declared}
    for key, x in rows.items():
        spec = declared[key]
        if list(x.shape[1:]) != spec["shape"] or x.dtype != np.dtype(spec["dtype"]):
            raise UserError(
                f"{name}: {key!r}: expected a batch of {spec['dtype']} {spec['shape']}, got "
                f"{x.dtype} {list(x.shape)}"
            )
    counts = {len(x) for x in rows.values()}
    if len(counts) != 1:
        raise UserError(f"{name}: expected as many rows of each field, got {sorted(counts)}")
    return [RawInput(f"{name}[{i}]", {k: x[i] for k, x in rows.items()}) for i in range(*counts)]


def _read_array(path: str) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    # A header may ask for any shape, and is parsed as Python's own literals are.
    except (OSError, ValueError, EOFError, MemoryError, OverflowError, TokenError) as e:
        raise UserError(f"cannot read {path} as an array: {describe_error(e)}") from None


def _parse_seed(text: str) -> np.ndarray:
    if not text.isdecimal() or int(text) >= 2**32:
        raise UserError(f"this bundle takes seeds, whole numbers below 2^32; got {text!r}")
    return np.asarray(int(text), np.uint32)
