"""What crosses the borders of a config's parts in a trace, once one of them has failed.

A trace that goes well is not watched. One that fails is repeated with every border tapped: the
model, the task and the metrics note what they get and what they return, with shapes and dtypes.
"""

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar
from unittest import mock

from flax import nnx

from lepton_jax.config.user_code import blame, definition_of
from lepton_jax.errors import UserError, WorkError, describe_value, did_you_mean
from lepton_jax.nn.rng import Noise

T = TypeVar("T")

_FORMS = {
    "__call__": "__call__(self, x, noise=None)",
    "loss": "loss(self, model, batch, noise)",
    "predict": "predict(self, model, batch)",
    "surprise": "surprise(self, outputs, batch)",
    "sums": "sums(self, outputs, batch)",
    "gathered": "gathered(self, outputs, batch)",
    "results": "results(self, sums)",
    "init": "init(self, tools, key)",
    "update": "update(self, tools, state, batch)",
}
"""The methods that are tapped, and how they are called."""


@dataclass(frozen=True)
class Bordered:
    """A part that a config names, by what messages call it: `model my_pkg.nets:Net`."""

    who: str
    value: Any


@dataclass
class _Crossing:
    part: Bordered
    method: str
    got: str
    fields: tuple[str, ...]
    returned: str | None = None


def explained(run: Callable[[], T], parts: Callable[[], Sequence[Bordered]]) -> T:
    """Returns `run()`. When it fails, runs it again with the borders of `parts()` tapped.

    Raises:
      UserError: in place of what a part raised: the part, its line, what it got, the likely cure.
    """
    try:
        return run()
    except (UserError, WorkError):
        raise
    except Exception as error:  # noqa: BLE001  whatever a user's part raises
        _Borders(parts()).blame(run, error)


class _Borders:
    def __init__(self, parts: Sequence[Bordered]):
        self._parts = parts
        self._crossings: list[_Crossing] = []
        self._open: list[_Crossing] = []
        self._failed: _Crossing | None = None
        self._batch: Mapping[str, Any] = {}

    def blame(self, run: Callable[[], Any], error: Exception) -> NoReturn:
        """Runs again with the borders tapped, and raises the explained error."""
        with contextlib.ExitStack() as stack:
            for part in self._parts:
                for name in _FORMS:
                    if any(name in vars(c) for c in type(part.value).__mro__):
                        tapped = self._tap(part, name)
                        stack.enter_context(mock.patch.object(type(part.value), name, tapped))
            try:
                run()
            except (UserError, WorkError):
                raise
            except Exception as e:  # noqa: BLE001  the same as before, as a rule
                error = e
        failed = self._failed
        if failed is None:
            who = " with ".join(part.who for part in self._parts[:2])
            blame(who, error, cure=self._model_said())
        at = definition_of(getattr(type(failed.part.value), failed.method))
        who = failed.part.who + ("" if failed.method == "__call__" else f".{failed.method}")
        said = "; ".join(filter(None, (failed.got, self._model_said())))
        blame(who, error, got=said, at=at, cure=self._cure(error, failed))

    def _tap(self, part: Bordered, name: str) -> Callable[..., Any]:
        original = getattr(type(part.value), name)

        def tapped(itself: Any, *args: Any, **kwargs: Any) -> Any:
            if any(c.part is part and c.method == name for c in self._open):  # super().loss()
                return original(itself, *args, **kwargs)
            crossing = self._note(part, name, args)
            self._open.append(crossing)
            try:
                out = original(itself, *args, **kwargs)
            except Exception:
                self._failed = self._failed or crossing
                raise
            finally:
                self._open.pop()
            crossing.returned = describe_value(out)
            return out

        return tapped

    def _note(self, part: Bordered, name: str, args: tuple[Any, ...]) -> _Crossing:
        given = [a for a in args if a is not None and not isinstance(a, Noise | nnx.Module)]
        for value in given:
            if isinstance(value, Mapping) and "mask" in value:
                self._batch = value
        said = ", ".join(map(self._describe, given))
        fields = tuple(k for value in given if isinstance(value, Mapping) for k in value)
        crossing = _Crossing(part, name, said, fields)
        self._crossings.append(crossing)
        return crossing

    def _describe(self, value: Any) -> str:
        """Describes a value, under the name of the field of the batch that it is."""
        name = next((k for k, field in self._batch.items() if field is value), "")
        return f"{name} {describe_value(value)}" if name else describe_value(value)

    def _model_said(self) -> str:
        """Says what the model got and returned, where it has returned."""
        for crossing in reversed(self._crossings):
            if crossing.method == "__call__" and crossing.returned is not None:
                return f"the model got {crossing.got} and returned {crossing.returned}"
        return ""

    def _cure(self, error: Exception, failed: _Crossing) -> str:
        text = str(error)
        if isinstance(error, TypeError) and text.endswith("object is not callable"):
            inside = failed.method == "__call__"
            none = "`noise` is None in an evaluation" if "NoneType" in text else ""
            return none if inside else f"a model has a method {_FORMS['__call__']}"
        if failed.method == "__call__" and "uint8" in failed.got and "dtype" in text:
            return 'data.prepare = "scale()" makes floats of bytes'
        if isinstance(error, KeyError) and error.args:
            near = did_you_mean(str(error.args[0]), failed.fields)
            return f"there is no {error.args[0]!r}{near}"
        if isinstance(error, TypeError) and "argument" in text:
            form = _FORMS[failed.method]
            function = getattr(type(failed.part.value), failed.method)
            wrong = getattr(function, "__name__", "") + "() " in text
            return f"it is called as {form}" if wrong or inspect.isclass(function) else ""
        return ""
