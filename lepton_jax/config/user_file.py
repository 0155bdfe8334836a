"""Functions of a user's Python file, such as `get_config` and `get_experiment`."""

import importlib.util
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lepton_jax.errors import UserError, describe_error, did_you_mean
from lepton_jax.nearest import find_nearest

_LISTS = {"get_config": "recipes", "get_experiment": "experiments"}
"""What `list` shows of the files that have a function of that name."""


def load_user_function(file: str, name: str, expected: str) -> Callable[..., Any]:
    """Imports a user's Python file and returns its function of that name.

    `expected`: a sentence on what such a file defines, for the errors.
    Raises:
      UserError: naming the file and the line of what is wrong.
    """
    from lepton_jax.io.files import find_nearest_path, list_beside, name_nearest

    if not os.path.isfile(file):
        nearest = find_nearest_path(file)
        raise UserError(
            f"there is no file {file}{name_nearest(file) if nearest else list_beside(file)}",
            instead=(file, nearest) if nearest else None,
            try_line=None if nearest or name not in _LISTS else ["list", _LISTS[name]],
        )
    # Dataclasses look their module up, under a name that is that of no module one can import.
    spec = importlib.util.spec_from_file_location(f"<{file}>", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file; {expected}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        run_user_code(spec.loader.exec_module, file, module)
    except SyntaxError as e:
        where = file if e.filename == os.path.abspath(file) else e.filename
        raise UserError(f"{where}:{e.lineno}: syntax error: {e.msg}; mend that line") from None
    function = getattr(module, name, None)
    if not callable(function):
        public = [n for n in vars(module) if not n.startswith("_")]
        near = did_you_mean(name, public)
        raise UserError(f"{file} has no function {name}(){near}; {expected}")
    return function


def call_user_function(file: str, name: str, arg: str, expected: str) -> Any:
    """Calls the function of that name in a user's Python file with `arg`, unless it is `''`.

    Raises:
      UserError: as `load_user_function`; when the function takes no argument, or not this one,
        which its annotation tells: `arg: Literal["", "tiny"] = ""`; or when it raises.
    """
    function = load_user_function(file, name, expected)
    if arg:
        _check_argument(function, file, name, arg)
    return run_user_code(function, file, *([arg] if arg else []))


def _check_argument(function: Callable[..., Any], file: str, name: str, arg: str) -> None:
    parameters = [*inspect.signature(function).parameters]
    if not parameters:
        raise UserError(
            f"{file}: {name}() takes no argument, got ':{arg}'; expected {name}(arg='')",
            instead=(f":{arg}", ""),
        )
    hints: dict[str, Any] = {}
    with suppress(Exception):  # an annotation may name what is not there
        hints = typing.get_type_hints(function)
    annotation = hints.get(parameters[0])
    known = [c for c in typing.get_args(annotation) if c] if _is_literal(annotation) else [arg]
    if arg not in known:
        there, near = ", ".join(f":{c}" for c in known) or "none", find_nearest(arg, known)
        near = near or (known[0] if len(known) == 1 else None)
        raise UserError(
            f"{file} has no form ':{arg}'{did_you_mean(arg, known)}; it has: {there}",
            instead=(f":{arg}", f":{near}") if near else None,
        )


def _is_literal(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Literal


def run_user_code(function: Callable[..., Any], file: str, *args: Any) -> Any:
    """Calls `function`, which a user's file defines or is.

    Raises:
      UserError: with the file and the line, in place of what the user's code raised.
    """
    try:
        return function(*args)
    except (SyntaxError, UserError):
        raise
    except Exception as e:  # noqa: BLE001  whatever the user's file raises is the user's to see
        missing = isinstance(e, ModuleNotFoundError) and e.name
        cure = "install the package that holds it, or add its folder to PYTHONPATH"
        cure = cure if missing else "mend that line"
        raise UserError(f"{_locate(e, file)}: {describe_error(e)}; {cure}") from None


def _locate(error: Exception, file: str) -> str:
    """Names the last line of `file` that the error passed: `config.py:12`."""
    own = (file, os.path.abspath(file))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in own]
    return f"{file}:{frames[-1].lineno}" if frames else file
