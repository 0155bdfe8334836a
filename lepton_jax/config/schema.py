"""Reads a component's signature as the schema of its config keys.

A component (a model, a task, a source, a transform ...) takes its config as keyword-only
parameters. Their annotations and defaults alone say which keys exist, of what type and with which
default. Positional parameters are handed over by the harness and are no config keys.

    class CNN(nnx.Module):
        def __init__(self, input_shape, outputs, *, features: tuple[int, ...] = (32, 64),
                     dropout: Hyper = 0.0, rngs): ...

Imports: the standard library only; a component's module is imported only when it is chosen.
"""

import contextlib
import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union

from lepton_jax.errors import UserError, quote

T = TypeVar("T")

HYPER = "hyper"
RUNNING = "running"

Hyper = Annotated[float, HYPER]
"""A number that trials may vary without a new program: inside a step it may be a traced array.
Exactly 0.0 means 'this part is switched off' and stays a Python number; see `is_off`."""


def is_off(number: Any) -> bool:
    """Returns whether a `Hyper` switches its part off; a traced zero does not."""
    return isinstance(number, int | float) and number == 0


NEVER_OFF = "never off"
"""Marks a `Hyper` whose zero is a value as any other, and does not switch its part off."""

TRACED = "traced"
Traced = Annotated[T, TRACED]
"""A component or pipeline whose `Hyper` numbers enter the step as arrays, so that trials may vary
them. Elsewhere, as in `data.prepare`, they are constants of the program."""

Running = Annotated[T, RUNNING]
"""A key that says where or how a run is carried out, not what it computes: free to change."""

LATER = "later"
Later = Annotated[T, LATER]
"""A key that was added after runs were published. At its default it is left out of the fingerprint,
so that the fingerprints of published runs stay what they were. A `Later[Hyper]` is 0.0 by default,
because earlier checkpoints hold no number for it."""

RANGES: dict[str, Callable[[Any], bool]] = {
    "> 0": lambda v: v > 2**-150,  # which float32 rounds to 0
    ">= 0": lambda v: v >= 0,
    ">= 1": lambda v: v >= 1,
    "in [0, 1)": lambda v: 0 <= v < 1 - 2**-25,  # which float32 rounds to 1
    "in [0, 1]": lambda v: 0 <= v <= 1,
    "in (0, 1]": lambda v: 0 < v <= 1,
    "in [0, 10]": lambda v: 0 <= v <= 10,
    "in [0, 255]": lambda v: 0 <= v <= 255,
    "in [0, 2^32)": lambda v: 0 <= v < 2**32,
}

PositiveInt = Annotated[int, "> 0"]
PositiveFloat = Annotated[float, "> 0"]
NaturalInt = Annotated[int, ">= 0"]
Seed = Annotated[int, "in [0, 2^32)"]
"""The seed of any draw: JAX makes its keys of 32 bits."""
Rate = Annotated[float, HYPER, "in [0, 1)"]
"""A probability or a decay that trials may vary, e.g. dropout."""
Probability = Annotated[float, HYPER, "in [0, 1]"]
Strength = Annotated[float, HYPER, ">= 0"]
"""How strong an augmentation is; trials may vary it."""

DURATION = "expected a duration such as '500 steps', '10 epochs' or '50_000 examples'"
Duration = Annotated[str, "duration"]
"""'500 steps', '10 epochs' or '50_000 examples': a length of training."""

PATTERN = "pattern"
RegularExpression = Annotated[str, PATTERN]
"""It is searched for in names; it is one that `re` can read."""

SECONDS, BYTES = "seconds", "bytes"
"""Mark the unit of a flag's number, which is written without it."""

PATH = "path"
PathText = Annotated[str, PATH]
"""A file or a folder. It is not empty, as an unset variable of a shell is. Its reader takes `~` as
the home."""

REQUIRED = inspect.Parameter.empty


class Key(NamedTuple):
    """The declaration of a config key: its type, its default (or REQUIRED), and its marks."""

    annotation: Any
    default: Any
    marks: tuple[str, ...]


@functools.cache
def signature_keys(component: Callable[..., Any]) -> dict[str, Key]:
    """Reads the config keys of a component from its signature.

    They are the fields of a dataclass. Of a function or another class they are the keyword-only
    parameters, and (optax's way) the positional ones with a default.

    Raises:
      UserError: when an annotation contradicts itself or its default.
    """
    if dataclasses.is_dataclass(component):
        hints = typing.get_type_hints(component, include_extras=True)
        return {
            f.name: split_annotation(hints[f.name], _field_default(f))
            for f in dataclasses.fields(component)
        }
    # nnx's metaclass hides the constructor's signature behind (*args, **kwargs).
    function = component.__init__ if inspect.isclass(component) else component
    hints = typing.get_type_hints(function, include_extras=True)
    keys = {}
    for name, p in inspect.signature(function).parameters.items():
        if name in ("self", "rngs") or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        if p.kind is p.KEYWORD_ONLY or p.default is not REQUIRED:
            key = split_annotation(hints.get(name, _infer_annotation(p.default)), p.default)
            _refuse_late_number(name, key)
            keys[name] = key
    return keys


def _refuse_late_number(name: str, key: Key) -> None:
    """Raises `UserError` for a `Later` number that trials may vary at its default.

    Checkpoints hold such numbers, and those of earlier runs would lack it.
    """
    varied = key.default not in (REQUIRED, None) and (key.default or NEVER_OFF in key.marks)
    if LATER in key.marks and HYPER in key.marks and varied:
        raise UserError(
            f"{name}: a Later[Hyper] has the default {key.default!r}, but checkpoints of earlier "
            "runs do not hold the number; expected the default 0.0, which is off, or Later[float], "
            "which trials cannot vary"
        )


def _infer_annotation(default: Any) -> Any:
    """Returns the type of a parameter without an annotation: its default's, if that is simple."""
    return type(default) if type(default) in (bool, int, float, str) else Any


OPTAX_RANGES = {
    **dict.fromkeys(("b1", "b2", "b3", "beta", "beta1", "beta2", "beta3"), "in [0, 1)"),
    **dict.fromkeys(("decay", "decay_rate", "momentum"), "in [0, 1)"),
    **dict.fromkeys(("eps", "eps_root", "weight_decay", "initial_scale"), ">= 0"),
    **dict.fromkeys(("initial_accumulator_value", "threshold", "consistent_rms"), ">= 0"),
    **dict.fromkeys(("clip", "clipping_threshold", "estim_lr0", "estim_lr_coef"), "> 0"),
    **dict.fromkeys(("ns_steps", "trust_coefficient"), "> 0"),
    "seed": "in [0, 2^32)",
}
"""The ranges of optax's own parameters, by their names; muon's `adam_b1` is a `b1`."""


def optax_keys(function: Callable[..., Any]) -> dict[str, Key]:
    """Reads the config keys of an optimizer of optax from the defaults of its parameters.

    Trials may vary a float, which optax takes traced, but not a bool or an int. A parameter that
    is None by default is a key if its annotation allows a float. Callables, masks and dtypes are
    no config keys. Their ranges are those of `OPTAX_RANGES`.
    """
    keys = {}
    for name, p in inspect.signature(function).parameters.items():
        if p.default is REQUIRED:
            continue
        wanted = OPTAX_RANGES.get(name.removeprefix("adam_"))
        bounds = () if wanted is None else (wanted,)
        if type(p.default) is float:
            keys[name] = Key(float, p.default, (HYPER, *bounds))
        elif type(p.default) in (bool, int):
            keys[name] = Key(type(p.default), p.default, bounds)
        elif p.default is None and _takes_float(p.annotation):
            keys[name] = Key(float | None, None, (HYPER, *bounds))
    return keys


def _takes_float(annotation: Any) -> bool:
    """Returns whether it allows a float and None, also among JAX's union of array-like types."""
    options = typing.get_args(annotation)
    return {float, type(None)} <= set(options) and all(isinstance(o, type) for o in options)


def _field_default(field: dataclasses.Field) -> Any:
    """Returns the default of a dataclass field, or REQUIRED."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def split_annotation(annotation: Any, default: Any = REQUIRED) -> Key:
    """Splits `Annotated[T, marks...]` into the type and the marks.

    Raises:
      UserError: when a mark looks like a range and is none of `RANGES`.
    """
    marks: tuple[str, ...] = ()
    while typing.get_origin(annotation) is Annotated:
        annotation, *extra = typing.get_args(annotation)
        marks += tuple(m for m in extra if isinstance(m, str))
    for mark in marks:
        if mark.startswith(("in ", ">", "<")) and mark not in RANGES:
            ranges = ", ".join(map(repr, RANGES))
            raise UserError(f"Annotated[..., {mark!r}]: no such range; there are: {ranges}")
    return Key(annotation, default, marks)


_WORDS = {"duration": "duration", PATTERN: "regular expression", PATH: "path"}
"""What texts with these marks are called."""


def describe_type(annotation: Any) -> str:
    """Says a type in the words of an error message: `int > 0`, `'a' or 'b'`, `int > 0 or None`."""
    annotation, _, marks = split_annotation(annotation)
    if words := [_WORDS[mark] for mark in marks if mark in _WORDS]:
        return words[0]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if bounds := [mark for mark in marks if mark in RANGES]:
        if type(None) in args:
            return f"{' '.join([describe_type(args[0]), *bounds])} or None"
        return " ".join([describe_type(annotation), *bounds])
    if origin is Literal:
        return " or ".join(repr(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(a) for a in args)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return f"a tuple of {describe_type(args[0])}"
        return f"a tuple ({', '.join(map(describe_type, args))})"
    if origin in (dict, Mapping):
        return "a section"
    if annotation is type(None):
        return "None"
    return getattr(annotation, "__name__", str(annotation))


def coerce_value(value: Any, annotation: Any) -> Any:
    """Converts `value` to an annotated type: an int to a float, a list to a tuple.

    Raises:
      ValueError: with 'expected ..., got ...' when the value does not fit, or is out of range.
    """
    _, _, marks = declared = split_annotation(annotation)
    if marks:
        if "duration" in marks and not isinstance(value, str):
            raise ValueError(f"{DURATION}, got {quote(value)}")
        value = coerce_value(value, declared.annotation)
        for mark in marks:
            if value is not None and mark in RANGES and not RANGES[mark](value):
                raise ValueError(f"expected {describe_type(annotation)}, got {quote(value)}")
        if "duration" in marks:
            value = _spell_unit(value)
        if PATTERN in marks:
            _check_pattern(value)
        if PATH in marks and value == "":
            raise ValueError("expected a path, got '' (is a variable unset?); give one")
        return value
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        for option in args:
            try:
                return coerce_value(value, option)
            except ValueError:
                continue
    elif origin is Literal:
        if any(type(value) is type(a) and value == a for a in args):
            return value
    elif origin is tuple and isinstance(value, tuple | list):
        types_ = args[:1] * len(value) if args[-1] is Ellipsis else args
        with contextlib.suppress(ValueError):
            return tuple(coerce_value(v, t) for v, t in zip(value, types_, strict=True))
    elif annotation is type(None):
        if value is None:
            return None
    elif annotation is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            with contextlib.suppress(OverflowError):  # an int that no float holds
                if abs(float(value)) < 2**128:  # what float32 holds; NaN is not
                    return float(value)
            raise ValueError(f"expected a finite number, got {quote(value)}")
    elif annotation is int:
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) < 2**63:
                return value
            raise ValueError(f"expected an int of 64 bits, got {quote(value)}")
    elif isinstance(annotation, type) and isinstance(value, annotation):
        return value
    raise ValueError(f"expected {describe_type(annotation)}, got {quote(value)}")


_PATTERN_CURES = {
    "missing )": "; close the bracket",
    "unterminated character set": "; close it with ]",
    "unbalanced parenthesis": "; open the bracket, or write \\) for the sign itself",
    "nothing to repeat": "; write .* for any text",
}
"""By what `re` says is wrong with a pattern, what to write."""


def _check_pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error as e:
        cures = (cure for problem, cure in _PATTERN_CURES.items() if problem in str(e))
        problem = f"{e}{next(cures, '')}"
        raise ValueError(f"expected a regular expression, got {quote(text)}: {problem}") from None


def parse_duration(text: str) -> tuple[float, str]:
    """Splits `'10 epochs'` into `(10.0, 'epochs')`; the unit is steps, epochs or examples.

    Raises:
      ValueError: when the text is not a number of at least zero and a unit.
    """
    number, _, unit = text.strip().partition(" ")
    unit = unit.strip().rstrip("s") + "s"
    try:
        length = float(number)
    except ValueError:
        length = -1.0
    if unit not in ("steps", "epochs", "examples") or not 0 <= length < float("inf"):
        raise ValueError(f"{DURATION}, got {quote(text)}")
    if unit != "epochs" and length != int(length):
        raise ValueError(f"expected a whole number of {unit}, got {quote(text)}")
    return length, unit


def _spell_unit(text: str) -> str:
    """Returns a duration with its unit in the plural: '1 epoch' and '1 epochs' are one config.

    Raises:
      ValueError: as `parse_duration`.
    """
    _, unit = parse_duration(text)
    number = text.strip().partition(" ")[0]
    return text if text.endswith(unit) else f"{number} {unit}"


def means_same(a: Any, b: Any) -> bool:
    """Tells whether two values of a key are equal, or spellings of one duration."""
    with contextlib.suppress(ValueError, AttributeError):
        return a == b or parse_duration(a) == parse_duration(b)
    return False
