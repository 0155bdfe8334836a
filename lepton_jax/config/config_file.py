"""From a config file and overrides to a validated `Config`.

A config file is Python with `get_config(arg='')` returning an `ml_collections.ConfigDict`.
`--config.path.to.key=value` overrides a key; references between fields follow. Choosing another
component (`--config.model.name=...`) starts its section from that component's defaults.
"""

import ast
import copy
import importlib.util
import inspect
import json
import os
import sys
import traceback
import typing
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from lepton_jax.config.config import Config
from lepton_jax.config.plain import to_plain
from lepton_jax.config.validation import start_anew, validate_config
from lepton_jax.config.walk import join_key
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.trees import flatten_dict

Overrides = Mapping[str, Any]
"""`{'optimizer.learning_rate': '0.1'}`: a text is read as on a command line, see `parse_literal`;
anything else is the value itself."""


def load_config(path: str, overrides: Overrides | None = None) -> tuple[Config, list[str]]:
    """Loads and validates the config at `path`: `FILE.py[:arg]`, or a record's config.json.

    Returns the config, and a note for each component whose section an override replaced.

    Raises:
      UserError: naming the file and what is wrong with it, or every fault of the config.
    """
    path = os.path.expanduser(path)
    file, _, arg = path.partition(":") if not os.path.exists(path) else (path, "", "")
    fields = _read_json(file) if file.endswith(".json") else _read_python(file, arg)
    return _validate_overridden(fields, overrides or {}, file)


def resolve_config(config: Any, overrides: Overrides | None = None) -> tuple[Config, list[str]]:
    """Validates a config in any form: a `Config`, a file's path, a `ConfigDict` or a dict, each
    with its overrides. What was given is left as it is.

    Returns:
      The config, and notes on it.

    Raises:
      UserError: for another form, or as `load_config` does.
    """
    from ml_collections import ConfigDict

    if isinstance(config, str | os.PathLike):
        return load_config(os.fspath(config), overrides)
    if isinstance(config, Config):
        if not overrides:
            return config, []
        config = config.to_dict()
    if not isinstance(config, Mapping | ConfigDict):
        raise UserError(f"expected a config file, a ConfigDict or a dict, got {config!r}")
    fields = to_plain(config) if isinstance(config, Mapping) else copy.deepcopy(config)
    return _validate_overridden(fields, overrides or {}, "the config")


def _validate_overridden(fields: Any, overrides: Overrides, name: str) -> tuple[Config, list[str]]:
    from ml_collections import ConfigDict, FrozenConfigDict

    if not isinstance(overrides, Mapping):
        raise UserError(f"overrides: expected a mapping such as {{'seed': 3}}, got {overrides!r}")
    if isinstance(fields, FrozenConfigDict):
        fields = ConfigDict(fields)
    notes = _override(fields, overrides)
    name = f"{name} with overrides" if overrides else name
    return validate_config(_to_tree(fields), name, notes), notes


def _to_tree(fields: Any, path: str = "") -> Any:
    """Turns ConfigDicts into nested dicts; names the key whose reference has no value."""
    from ml_collections import ConfigDict
    from ml_collections.config_dict import RequiredValueError

    if not isinstance(fields, ConfigDict):
        return fields
    tree = {}
    for name in fields:
        where = join_key(path, name)
        try:
            value = fields[name]
        except RequiredValueError:
            raise UserError(
                f"{where}: the config leaves it open; give --config.{where}=VALUE"
            ) from None
        except Exception as e:  # noqa: BLE001  whatever an operation on a reference raises
            raise UserError(f"{where}: {type(e).__name__}: {e}") from None
        tree[name] = _to_tree(value, where)
    return tree


def _read_json(file: str) -> Any:
    try:
        with open(file, encoding="utf-8") as f:
            tree = json.load(f)
    except OSError as e:
        raise UserError(f"cannot read the config {file}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise UserError(f"{file} is not JSON: {e}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{file}: expected a config, an object of sections, got {tree!r:.60}")
    return tree


def _read_python(file: str, arg: str) -> Any:
    from ml_collections import ConfigDict

    if not file.endswith(".py"):
        recipe = f"configs/{file}.py"
        near = f" (did you mean {recipe!r}?)" if os.path.isfile(recipe) else ""
        raise UserError(f"a config is a .py file (or a record's config.json), got {file!r}{near}")
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
    # Dataclasses look their module up, under a name that is that of no module one can import.
    spec = importlib.util.spec_from_file_location(f"<{file}>", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is no Python file; {expected}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
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
        raise UserError(f"{file}: {name}() takes no argument, got ':{arg}'")
    hints: dict[str, Any] = {}
    with suppress(Exception):  # an annotation may name what is not there
        hints = typing.get_type_hints(function)
    annotation = hints.get(parameters[0])
    known = [c for c in typing.get_args(annotation) if c] if _is_literal(annotation) else [arg]
    if arg not in known:
        there = ", ".join(f":{c}" for c in known) or "none"
        raise UserError(f"{file} has no form ':{arg}'{did_you_mean(arg, known)}; it has: {there}")


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
        raise UserError(f"{_locate(e, file)}: {type(e).__name__}: {e}") from None


def _override(config: Any, overrides: Overrides) -> list[str]:
    """Applies overrides in place, and returns a note for each section that starts anew.

    Component names come first, because they decide what the other keys may be.
    """
    values = flatten_dict(to_plain(overrides))
    notes = []
    with ExitStack() as stack:
        if not isinstance(config, dict):  # types are judged by the schema, which sees all values
            stack.enter_context(config.ignore_type())
        for path in sorted(values, key=lambda p: (not p.endswith(".name"), p.count("."))):
            *sections, name = path.split(".")
            target = _enter_section(config, sections, path)
            now, value = _value_of(target, name), values[path]
            if name == "name" and now not in (None, value):
                notes += start_anew(target, sections, value, values)
            is_word = isinstance(now, str) and value != "None"
            if isinstance(value, str) and not is_word:
                value = parse_literal(value)
            try:
                target[name] = value
            except (TypeError, ValueError, OverflowError) as e:
                raise UserError(f"--config.{path}={value!r:.60}: {e}") from None
    return notes


def _enter_section(config: Any, sections: list[str], path: str) -> Any:
    """Returns the section of an override, open for new keys; adds those that are not there."""
    from ml_collections import ConfigDict
    from ml_collections.config_dict import RequiredValueError

    target = config
    for i, section in enumerate([*sections, ""]):
        if not isinstance(target, dict | ConfigDict):
            where = ".".join(sections[:i])
            raise UserError(f"--config.{path}: {where} is a value, not a section")
        if isinstance(target, ConfigDict):
            with suppress(RequiredValueError):  # of what lies below; this level is open by then
                target.unlock()
        if i < len(sections):
            if _value_of(target, section) is None:
                target[section] = {}
            target = target[section]
    return target


def _value_of(section: Any, name: str) -> Any:
    """Returns a value of a section; None where it lacks, or where a reference has none yet."""
    from ml_collections.config_dict import RequiredValueError

    try:
        return section.get(name)
    except RequiredValueError:
        return None


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
