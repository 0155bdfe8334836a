"""The form of a JSON file: which keys its object has, and of what type they are."""

import json
from collections import Counter
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from lepton_jax.errors import WorkError

_NAMES = {
    dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a whole number",
    float: "a number", type(None): "null",
}  # fmt: skip


def check_object(value: Any, where: str, **keys: Any) -> None:
    """Checks that a value of a JSON file is an object with these keys; as in `read_object`.

    Raises:
      WorkError: saying what of `where` is damaged.
    """
    if not isinstance(value, dict):
        raise WorkError(f"{where} is damaged: expected an object {{...}}, got {_describe(value)}")
    for key, form in keys.items():
        if not _has_form(value.get(key), form):
            got = _describe(value[key]) if key in value else "none"
            raise WorkError(f"{where} is damaged: {key!r}: expected {_name_form(form)}, got {got}")


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of JSON, as a hook of `json.loads`.

    Raises:
      ValueError: for a key that is there twice.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"the key {names.most_common(1)[0][0]!r} is there twice")
    return value


def _has_form(value: Any, form: Any) -> bool:
    """Tells whether a value of JSON is of a type, a list of a type, or one of a Literal's texts."""
    if form is Any:
        return True
    if get_origin(form) in (UnionType, Union):
        return any(_has_form(value, one) for one in get_args(form))
    if get_origin(form) is Literal:
        return value in get_args(form)
    if get_origin(form) is list:
        return isinstance(value, list) and all(_has_form(one, get_args(form)[0]) for one in value)
    wider = int | float if form is float else form
    return isinstance(value, wider) and (form is bool or not isinstance(value, bool))


def _name_form(form: Any) -> str:
    if get_origin(form) in (UnionType, Union):
        return _name_form(get_args(form)[0])
    if get_origin(form) is Literal:
        return f"one of {', '.join(get_args(form))}"
    if get_origin(form) is list:
        return f"a list, each of it {_name_form(get_args(form)[0])}"
    return _NAMES[form]


def _describe(value: Any) -> str:
    """Describes a value of JSON in a few words."""
    if isinstance(value, dict | list):
        return _NAMES[type(value)]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 40 else f"{text[:40]}..."
