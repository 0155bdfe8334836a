"""A pipeline: `'pad_crop(4)|my_pkg.mod:fn'` names transforms in order, with literal arguments.

The string prints, diffs, sweeps and keeps its order, so records hold the string. It is parsed as a
Python expression of which only literals are accepted: nothing in it is ever evaluated.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from lepton_jax.config.components import Component


@dataclass(frozen=True)
class Pipeline:
    """The transforms that a config chose, in order; `str` gives the very text that named them."""

    text: str = ""
    transforms: tuple[Component, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __iter__(self) -> Iterator[Component]:
        return iter(self.transforms)

    def __bool__(self) -> bool:
        return bool(self.transforms)


NO_TRANSFORMS = Pipeline()


class TransformCall(NamedTuple):
    """One transform of a pipeline as it is written: its name and its literal arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_calls(text: str) -> list[TransformCall]:
    """Splits a pipeline into its calls, in order; `''` is the empty pipeline.

    Raises:
      ValueError: with a sentence saying which part is malformed.
    """
    return [_parse_call(part) for part in _split_at_bars(text)]


def mend_calls(text: str) -> str:
    """Returns the pipeline that a malformed one probably means; `''` where none is near.

    Brackets that are open at its end are closed, and other signs than `|` between calls replaced.
    """
    depth, mended = 0, ""
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        mended += "|" if depth == 0 and c in ",;+>" else c
    mended = re.sub(r"\s*\|+\s*", "|", mended).strip("|") + ")" * depth
    try:
        parse_calls(mended)
    except ValueError:
        return ""
    return mended


def _parse_call(part: str) -> TransformCall:
    match = re.fullmatch(r"([\w.]+(?::\w+)?)\s*(\(.*\))?", part, re.S)
    if not match:
        raise ValueError(f"{part!r} is not the name of a transform, as in 'resize(32)|flip'")
    name, arguments = match[1], match[2] or "()"
    try:
        call = ast.parse(f"f{arguments}", mode="eval").body
    except SyntaxError:
        raise ValueError(f"cannot read {part!r}; write e.g. 'resize(32)|flip'") from None
    if not isinstance(call, ast.Call):
        raise ValueError(f"cannot read {part!r}; write e.g. 'resize(32)|flip'")
    try:
        args = tuple(ast.literal_eval(a) for a in call.args)
        kwargs = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
    except ValueError:
        raise ValueError(f"{part!r}: arguments must be plain literals") from None
    return TransformCall(name, args, kwargs)


def _split_at_bars(text: str) -> list[str]:
    """Splits at every `|` that stands outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "|" and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    if parts == [""]:
        return []
    if any(not p.strip() for p in parts):
        raise ValueError(f"{text!r} has an empty part; write e.g. 'resize(32)|flip'")
    return [p.strip() for p in parts]
