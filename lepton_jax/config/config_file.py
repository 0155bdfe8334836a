"""From a config file and overrides to a validated `Config`.

A config file is Python with `get_config(arg='')` returning an `ml_collections.ConfigDict`.
`--config.path.to.key=value` overrides a key; references between fields follow. Choosing another
component (`--config.model.name=...`) starts its section from that component's defaults.
"""

import ast
import copy
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from lepton_jax.config.config import Config, find_user_modules
from lepton_jax.config.plain import to_plain
from lepton_jax.config.recipes import find_recipe
from lepton_jax.config.renamed import refuse_old_name
from lepton_jax.config.user_file import call_user_function
from lepton_jax.config.validation import start_anew, validate_config
from lepton_jax.config.walk import join_key
from lepton_jax.errors import UserError, quote
from lepton_jax.trees import flatten_dict

Overrides = Mapping[str, Any]
"""`{'optimizer.learning_rate': '0.1'}`: a text is read as on a command line, see `parse_literal`;
anything else is the value itself."""


def load_config(path: str, overrides: Overrides | None = None) -> tuple[Config, list[str]]:
    """Loads and validates the config at `path`: `FILE.py[:arg]`, a record's config.json, or the
    name of a recipe, `digits_cnn[:arg]`.

    Returns the config, and a note for each component whose section an override replaced.

    Raises:
      UserError: naming the file and what is wrong with it, or every fault of the config.
    """
    path = os.path.expanduser(path)
    file, _, arg = path.partition(":") if not os.path.isfile(path) else (path, "", "")
    file = find_recipe(file)
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
    notes, before = _override(fields, overrides)
    given = flatten_dict(to_plain(overrides))
    config = validate_config(_to_tree(fields), name, notes, given, before)
    if "__main__" in find_user_modules(config):
        notes.append(
            "parts of this config are defined in __main__ (a notebook, a script): its record is "
            "loaded only where they are; a part in a module, 'my_pkg.parts:Name', is found anywhere"
        )
    return config, notes


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
        raise UserError(
            f"{file} is not JSON: {e}; give a record's config.json, or FILE.py"
        ) from None
    if not isinstance(tree, dict):
        raise UserError(f"{file}: got {quote(tree)}; expected a record's config.json, or FILE.py")
    return tree


def _read_python(file: str, arg: str) -> Any:
    from ml_collections import ConfigDict

    if not file.endswith(".py"):
        raise UserError(
            f"a config is a recipe's name, a .py file, or a record's config.json, got {file!r}"
            + ("" if file else " (is a variable unset?)")
            + "; write its keys in a FILE.py, or name a recipe",
            try_line=["list", "recipes"],
        )
    config = call_user_function(
        file,
        "get_config",
        arg,
        "a config file defines get_config(arg='') and returns an ml_collections.ConfigDict",
    )
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"{file}: get_config() returned {type(config).__name__}, expected an "
            "ml_collections.ConfigDict; end it with `return config`, of config = ConfigDict(...)"
        )
    return config


def _override(config: Any, overrides: Overrides) -> tuple[list[str], dict[str, Any]]:
    """Applies overrides in place. Returns a note for each section that starts anew, and what the
    config had before at the keys that were changed or dropped, by path.

    Component names come first, because they decide what the other keys may be.
    """
    values = flatten_dict(to_plain(overrides))
    notes: list[str] = []
    before: dict[str, Any] = {}
    with ExitStack() as stack:
        if not isinstance(config, dict):  # types are judged by the schema, which sees all values
            stack.enter_context(config.ignore_type())
        for path in sorted(values, key=lambda p: (not p.endswith(".name"), p.count("."))):
            refuse_old_name(path, values[path])
            *sections, name = path.split(".")
            target = _enter_section(config, sections, path)
            now, value = to_plain(_value_of(target, name)), values[path]
            if name == "name" and now not in (None, value):
                before |= {join_key(".".join(sections), k): _value_of(target, k) for k in target}
                notes += start_anew(target, sections, value, values)
            elif now is not None:
                before[path] = now
            is_word = isinstance(now, str) and value != "None"
            if isinstance(value, str) and not is_word:
                value = parse_literal(value)
            try:
                target[name] = value
            except (TypeError, ValueError, OverflowError) as e:
                raise UserError(f"--config.{path}={quote(value)}: {e}") from None
    return notes, before


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
