"""What is wrong with the keys of a config, and the error that says all of it.

Each fault names the key, and where it can the overrides that were probably meant.
"""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from lepton_jax.config.components import TABLES, component_keys, find_component, name_module
from lepton_jax.config.nearest_value import write_value
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import Key, split_annotation
from lepton_jax.config.walk import join_key, to_tree
from lepton_jax.errors import UserError, quote
from lepton_jax.nearest import NAMES, find_meant, find_nearest, spell_duration


@dataclass(frozen=True)
class KeyFault:
    """What is wrong with the key at `path`; `''` is the whole config."""

    path: str
    problem: str
    given: str = ""
    """The key's path, with its value where that is a part of the mistake."""
    meant: tuple[str, ...] = ()
    """What probably takes the place of `given`: paths, with their values where `given` is without
    or has one."""
    default: Any = None
    """What the key is by default; None where it has no default or that is None."""

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}" if self.path else self.problem


class Faults(list[KeyFault]):
    """What is wrong with a config."""

    def add(
        self, path: str, problem: str, given: str = "", *meant: str, default: Any = None
    ) -> None:
        """Adds a problem of the key at `path`; see `KeyFault`."""
        self.append(KeyFault(path, problem, given, meant, default))


def error_of(
    faults: Sequence[KeyFault],
    name: str,
    notes: Sequence[str],
    overrides: Mapping[str, Any],
    before: Mapping[str, Any],
) -> UserError:
    """Returns the error for a config with faults: one line for one, a line each for several.

    `before`: what the config had at the keys that a command line changed or dropped, by path.
    """

    def on_command_line(fault: KeyFault) -> bool:
        ours, is_missing = f"{fault.path}.", fault.problem.startswith("missing;")
        name = f"{fault.path.rpartition('.')[0]}.name"
        chosen = name in overrides and overrides[name] != before.get(name)  # another component
        given = any(ours.startswith(f"{k}.") or f"{k}.".startswith(ours) for k in overrides)
        return chosen if is_missing else given or chosen

    there = [on_command_line(fault) for fault in faults]
    lines = [f"--config.{f}" if given else str(f) for f, given in zip(faults, there, strict=True)]
    missing = any(fault.problem.startswith("missing;") for fault in faults)
    told = [*lines, *(notes if missing else ())]
    if len(faults) > 1:
        places = [f"in {name}"] * (not all(there)) + ["on the command line"] * any(there)
        return UserError("\n  ".join([f"{len(faults)} problems {' and '.join(places)}:", *told]))
    (fault,) = faults
    if all(there) and not fault.meant:
        fault, usual = _fall_back(fault, name, overrides, before)
        told += [usual] if usual else []
    chosen = fault.meant[0].partition("=")[0] if fault.meant else ""
    if chosen in overrides and fault.given in overrides:  # the given key is right beside it
        fault = replace(fault, given=chosen, meant=fault.meant[:1])
    where = "" if all(there) else f"{name}: "
    instead = tuple(f"--config.{key}" for key in (fault.given, *fault.meant))
    return UserError(where + "; ".join(told), instead=instead if fault.meant else None)


def _fall_back(
    fault: KeyFault, name: str, overrides: Mapping[str, Any], before: Mapping[str, Any]
) -> tuple[KeyFault, str]:
    """Returns a fault with the value that its key has without the command line as what was meant,
    and words that say so; where no such value is known, the words name the flag to give."""
    path, old = fault.path, before.get(fault.path, fault.default)
    old = old if isinstance(old, tuple) else to_tree(old)
    if "; there are: " in fault.problem:  # which says it all
        return fault, ""
    value = "" if isinstance(old, Mapping) else write_value(old)
    if fault.problem.startswith("missing;"):
        if not value or old is None:
            return fault, f"give --config.{path}=VALUE"
        chosen = f"{path.rpartition('.')[0]}.name"  # another component, which lacks the key
        given = f"{chosen}={overrides.get(chosen)}"
        meant = (given, f"{path}={value}")
        return replace(fault, given=given, meant=meant), f"{name} has {quote(old)}"
    if not value or old is None or path not in overrides or path.endswith(".name"):
        return fault, ""
    whose = f"{name} has" if path in before else "by default it is"
    return replace(fault, given=path, meant=(f"{path}={value}",)), f"{whose} {quote(old)}"


def add_unknown(
    name: str, value: Any, keys: Mapping[str, Key], path: str, faults: Faults
) -> str | None:
    """Adds the fault that a section has no key of that name, and returns the one that was meant."""
    where = join_key(path, name)
    deeper = [n for n in NAMES if "." in n and n.partition(".")[0] in keys] if not path else []
    if isinstance(value, Mapping):  # a section is never meant by a single value
        near = find_nearest(name, [name for name, key in keys.items() if _holds_keys(key)])
    else:
        near = find_meant(name, keys) or find_meant(name, deeper) or find_nearest(name, keys)
    if near is None:
        allowed = f"; there are: {', '.join(keys)}" if keys else "; none is"
        faults.add(where, f"no such key{allowed}")
    elif near == "train_for" and isinstance(value, int | float):
        duration = spell_duration(name, value)
        problem = f"no such key (did you mean train_for = {duration!r}?)"
        faults.add(where, problem, f"{where}={value}", f"train_for={duration}")
    else:
        faults.add(where, f"no such key (did you mean {near!r}?)", where, join_key(path, near))
    return near


def _holds_keys(key: Key) -> bool:
    """Tells whether what a key takes has keys of its own."""
    for kind in (key.annotation, *typing.get_args(key.annotation)):
        inner = split_annotation(kind).annotation
        if inner is not Pipeline and is_dataclass(inner):
            return True
        if inner is Any or typing.get_origin(inner) in (dict, Mapping):
            return True
    return False


def add_others_key(kind: str, name: str, key: str, value: Any, path: str, faults: Faults) -> bool:
    """Adds the fault that a schedule or strategy lacks a key that others have, and tells whether
    it is so. Another model is no cure for a key, so that other kinds have no such fault.
    """
    if kind not in ("schedule", "strategy") or key in component_keys(kind, name):
        return False
    others = [other for other in TABLES[kind] if key in component_keys(kind, other)]
    if not others:
        return False
    where, have = join_key(path, key), "has" if len(others) == 1 else "have"
    problem = f"{kind} {name!r} has no such key; {', '.join(others)} {have}"
    faults.add(where, problem, where, f"{path}.name={others[0]}", f"{where}={write_value(value)}")
    return True


def add_no_section(value: Any, path: str, faults: Faults, key: str, kind: str = "") -> None:
    """Adds the fault that a value stands in the place of a section, of whose `key` it is probably
    the value; '': of none. `kind`: the kind of component that the section is, if it is one."""
    problem = f"expected a section, got {quote(value)}"
    if not key or value in ("", None) or (kind and not isinstance(value, str)):
        faults.add(path, problem)
        return
    meant = choosing_overrides(kind, value, path) if kind else [f"{path}.{key}={value}"]
    faults.add(path, f"{problem} (did you mean {' with '.join(meant)}?)", path, *meant)


def choosing_overrides(kind: str, word: str, path: str) -> list[str]:
    """Lists the overrides that choose the component at `path` which a word probably means."""
    if near := find_component(kind, word):
        return [f"{path}.name={near}"]
    if kind == "source" and word.isidentifier():
        return [f"{path}.name=tfds", f"{path}.dataset={word}"]
    return [f"{path}.name={word}"]


def add_unknown_component(kind: str, name: str, path: str, problem: str, faults: Faults) -> None:
    """Adds the fault that no component of a kind has a name, with the one that was meant."""
    near = find_component(kind, name)
    file, sign, attribute = name.partition(":")
    if sign and (file.endswith(".py") or "/" in file):  # a module by its path
        near = f"{name_module(file)}:{attribute}"
    section = path.removesuffix(".name")
    meant = [f"{path}={near}"] if near else []
    if not near and kind == "source" and name.isidentifier():
        meant = [f"{path}=tfds", f"{section}.dataset={name}"]
    faults.add(path, problem, f"{path}={name}", *meant)
