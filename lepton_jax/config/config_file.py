"""From a config file and overrides to a validated `Config`.

A config file is Python with `get_config(arg='')` returning an `ml_collections.ConfigDict`.
`--config.path.to.key=value` overrides a key; references between fields follow. Choosing another
component (`--config.model.name=...`) starts its section from that component's defaults.
"""

import ast
import importlib.util
import inspect
import json
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError, did_you_mean


def load_config(path: str, overrides: Mapping[str, str] | None = None) -> tuple[Config, list[str]]:
    """Loads and validates the config at `path`: `FILE.py[:arg]`, or a record's config.json.

    `overrides`: `{'optimizer.learning_rate': '0.1'}`, values as they are written on a command line.
    Returns the config, and a note for each component whose section an override replaced.

    Raises:
      UserError: naming the file and what is wrong with it, or every fault of the config.
    """
    file, _, arg = path.partition(":") if not os.path.exists(path) else (path, "", "")
    fields = _read_json(file) if file.endswith(".json") else _read_python(file, arg)
    notes = _override(fields, overrides or {})
    return validate_config(fields.to_dict(), file), notes


def resolve_config(config: Any, overrides: Mapping[str, str]) -> tuple[Config, list[str]]:
    """Validates a config in any form: a `Config`, a file's path, a `ConfigDict` or a dict.

    Returns:
      The config, and notes on it. `overrides` are those of a file.

    Raises:
      UserError: for another form, or as `load_config` does.
    """
    if isinstance(config, Config):
        return config, []
    if isinstance(config, str):
        return load_config(config, overrides)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise UserError(f"expected a config file, a ConfigDict or a dict, got {config!r}")
    return validate_config(config), []


def _read_json(file: str) -> Any:
    from ml_collections import ConfigDict

    try:
        with open(file) as f:
            return ConfigDict(json.load(f))
    except OSError as e:
        raise UserError(f"cannot read the config {file}: {e.strerror}") from None
    except ValueError as e:
        raise UserError(f"{file} is not JSON: {e}") from None


def _read_python(file: str, arg: str) -> Any:
    from ml_collections import ConfigDict

    if not file.endswith(".py"):
        raise UserError(f"a config is a .py file (or a record's config.json), got {file}")
    if not os.path.isfile(file):
        raise UserError(f"there is no config file {file}{_nearest_file(file)}")
    config = call_user_function(
        file,
        "get_config",
        arg,
        "a config file defines get_config(arg='') and returns an ml_collections.ConfigDict",
    )
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{file}: get_config() returned {type(config).__name__}, "
            "expected an ml_collections.ConfigDict"
        )
    return config


def load_user_function(file: str, name: str, expected: str) -> Callable[..., Any]:
    """Imports a user's Python file and returns its function of that name.

    `expected`: a sentence on what such a file defines, for the errors.
    Raises:
      UserError: naming the file and the line of what is wrong.
    """
    if not os.path.isfile(file):
        raise UserError(f"there is no file {file}{_nearest_file(file)}")
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(file))[0], file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file; {expected}")
    module = importlib.util.module_from_spec(spec)
    try:
        run_user_code(spec.loader.exec_module, file, module)
    except SyntaxError as e:
        raise UserError(f"{e.filename}:{e.lineno}: syntax error: {e.msg}") from None
    function = getattr(module, name, None)
    if not callable(function):
        public = [n for n in vars(module) if not n.startswith("_")]
        near = did_you_mean(name, public)
        raise UserError(f"{file} has no function {name}(){near}; {expected}")
    return function


def call_user_function(file: str, name: str, arg: str, expected: str) -> Any:
    """Calls the function of that name in a user's Python file with `arg`, unless it is `''`.

    Raises:
      UserError: as `load_user_function`, or when the function takes no argument or raises.
    """
    function = load_user_function(file, name, expected)
    if arg and not inspect.signature(function).parameters:
        raise UserError(f"{file}: {name}() takes no argument, got ':{arg}'")
    return run_user_code(function, file, *([arg] if arg else []))


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
        raise UserError(f"{_locate(e, file)}: {type(e).__name__}: {e}") from None


def _override(config: Any, overrides: Mapping[str, str]) -> list[str]:
    """Applies overrides in place, and returns a note for each section that starts anew.

    Component names come first, because they decide what the other keys may be.
    """
    from ml_collections import ConfigDict

    notes = []
    config.unlock()
    with config.ignore_type():  # types are judged by the schema, which sees the whole value
        for path in sorted(overrides, key=lambda p: (not p.endswith(".name"), p.count("."))):
            *sections, name = path.split(".")
            target = config
            for i, section in enumerate(sections):
                if target.get(section) is None:
                    target[section] = ConfigDict()
                target = target[section]
                if not isinstance(target, ConfigDict):
                    raise UserError(
                        f"--config.{path}: {'.'.join(sections[: i + 1])} is a value, not a section"
                    )
            if name == "name" and target.get("name") not in (None, overrides[path]):
                stale = [k for k in target if k != "name"]
                for key in stale:
                    del target[key]
                gone = [k for k in stale if ".".join([*sections, k]) not in overrides]
                are = "is" if len(gone) == 1 else "are"
                dropped = f" ({', '.join(gone)} of the config {are} dropped)" if gone else ""
                notes.append(f"{'.'.join(sections)}: {overrides[path]}, from its defaults{dropped}")
            text = overrides[path]
            target[name] = text if isinstance(target.get(name), str) else parse_literal(text)
    config.lock()
    return notes


def parse_literal(text: str) -> Any:
    """Reads a value as it is written on a command line: `0.1`, `(8, 16)`, `true`, or a word."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _nearest_file(file: str) -> str:
    """Suggests the file of the folder whose name is nearest."""
    folder = os.path.dirname(file) or "."
    if not os.path.isdir(folder):
        return f" (nor a folder {folder})"
    return did_you_mean(os.path.basename(file), os.listdir(folder))


def _locate(error: Exception, file: str) -> str:
    """Names the last line of `file` that the error passed: `config.py:12`."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f"{file}:{frames[-1].lineno}" if frames else file
