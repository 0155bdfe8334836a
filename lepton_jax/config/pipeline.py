"""Pipelines as strings: `'pad_crop(4)|my_pkg.mod:fn'` names transforms in order, with literals.

A string prints, diffs, sweeps and keeps its order. It is parsed as a Python expression and only
literals are accepted: nothing in it is ever evaluated.
"""

import ast
import re
from typing import Any, NamedTuple


class TransformCall(NamedTuple):
    """One transform of a pipeline: its name and its literal arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def parse_calls(text: str) -> list[TransformCall]:
    """The calls of a pipeline, in order; `''` is the empty pipeline.

    Raises:
      ValueError: with a sentence saying which part is malformed.
    """
    calls = []
    for part in _split(text):
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
            values = tuple(ast.literal_eval(a) for a in call.args)
            named = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
        except ValueError:
            raise ValueError(f"{part!r}: arguments must be plain literals") from None
        calls.append(TransformCall(name, values, named))
    return calls


def _split(text: str) -> list[str]:
    """Splits at `|`, except inside brackets or quotes."""
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
