"""The type and the default of a key, in words."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Union

from lepton_jax.config.components import TABLES, Component
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import RANGES, Key, describe_type, split_annotation


def format_type(key: Key) -> str:
    """Formats what a key may be: `float in [0, 1)`, `'a' or 'b'`, `a model`, `duration`."""
    return _format(Annotated[(key.annotation, *key.marks)] if key.marks else key.annotation)


def _format(annotated: Any) -> str:
    annotation, _, marks = split_annotation(annotated)
    kind = next((mark for mark in marks if mark in TABLES), "")
    if typing.get_origin(annotation) in (Union, types.UnionType):
        bounds = " ".join(mark for mark in marks if mark in RANGES)
        options = (_format(o) for o in typing.get_args(annotation))
        bounded = (o if o == "None" or not bounds else f"{o} {bounds}" for o in options)
        return " or ".join(dict.fromkeys(bounded))
    if annotation is Component:
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if annotation is Pipeline:
        return f"{kind}s, joined by '|'"
    if typing.get_origin(annotation) is Mapping and kind:
        return f"{kind}s by name"
    if typing.get_origin(annotation) is Mapping:
        return "sections by name"
    if dataclasses.is_dataclass(annotation):
        return "a section"
    return describe_type(annotated)


def format_default(value: Any) -> str:
    """Formats a default as a config writes it; a component is its name."""
    if isinstance(value, Component):
        return repr(value.name)
    if isinstance(value, Pipeline):
        return repr(value.text)
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(repr, value))}}}"
    if dataclasses.is_dataclass(value):
        return "its keys' defaults"
    if isinstance(value, float) and len(repr(value)) > 10:  # of 4 / 3
        return f"{value:.6g}"
    return repr(value)
