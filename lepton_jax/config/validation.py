"""From nested mappings to a `Config`, or one error that lists every fault.

Component sections (`model`, `task`, ...) are checked against the component's own signature; see
`schema.py`. Imports: no jax; a component's module only when it is chosen.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from lepton_jax.config import pipeline, schema
from lepton_jax.config.components import Component, component_keys
from lepton_jax.config.config import Config, OptimizerConfig, plain
from lepton_jax.config.schema import (
    REQUIRED,
    RUNNING,
    Key,
    coerce_value,
    describe_type,
    parse_duration,
    signature_keys,
)
from lepton_jax.config.walk import join_path
from lepton_jax.errors import UserError, did_you_mean


class Faults(list[str]):
    """What is wrong with a config, a line each."""

    def add(self, path: str, problem: str) -> None:
        self.append(f"{path}: {problem}" if path else problem)


def validate_config(given: Mapping[str, Any], name: str = "the config") -> Config:
    """The `Config` that `given` (nested mappings) stands for.

    Raises:
      UserError: listing every fault: the key, what was given, what is allowed, the nearest name.
    """
    faults = Faults()
    config = _section(given, Config, "", faults)
    if not faults:
        faults.extend(_impossible(config))
    if faults:
        problems = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
        raise UserError("\n  ".join([f"config error: {problems} in {name}", *faults]))
    return config


def change_config(config: Config, change: Mapping[str, Any], name: str = "the config") -> Config:
    """The config with some keys changed; another component starts from its own defaults.

    Raises:
      UserError: where it does not allow the values.
    """
    tree = config.to_dict()
    # Names first: they decide what the rest may be.
    for path in sorted(change, key=lambda p: (not p.endswith("name"), p.count("."))):
        *sections, key = path.split(".")
        at = tree
        for section in sections:
            if not isinstance(at.get(section), dict):
                at[section] = {}
            at = at[section]
        if key == "name" and at.get("name") != change[path]:
            at.clear()
        at[key] = change[path]
    return validate_config(tree, name)


def _section(given: Any, cls: type, path: str, faults: Faults) -> Any:
    if not isinstance(given, Mapping):
        faults.add(path, f"expected a section, got {given!r}")
        return None
    keys = signature_keys(cls)
    if cls is OptimizerConfig:
        return _optimizer(given, keys, path, faults)
    values = _keys(given, keys, path, faults)
    return None if faults else cls(**values)


def _optimizer(given: Mapping[str, Any], keys: dict[str, Key], path: str, faults: Faults) -> Any:
    name = given.get("name")
    own: dict[str, Key] = {}
    if isinstance(name, str):
        try:
            own = component_keys("optimizer", name)
        except ValueError as e:
            faults.add(f"{path}.name", str(e))
            return None
    # The optimizer's own default, e.g. adamw's weight decay, is the section's default.
    keys = {k: v._replace(default=own[k].default) if k in own else v for k, v in keys.items()}
    own = {k: v for k, v in own.items() if k not in keys}
    del keys["keys"]
    values = _keys(given, own | keys, path, faults)
    if faults:
        return None
    return OptimizerConfig(**{k: values[k] for k in keys}, keys={k: values[k] for k in own})


def _keys(
    given: Mapping[str, Any], keys: dict[str, Key], path: str, faults: Faults
) -> dict[str, Any]:
    """Checks `given` against `keys` and fills in the defaults."""
    values = {}
    for name in given:
        if name not in keys:
            near = did_you_mean(name, keys)
            allowed = "" if near else f"; there are: {', '.join(keys)}" if keys else "; none is"
            faults.add(join_path(path, name), f"no such key{near}{allowed}")
    for name, key in keys.items():
        where = join_path(path, name)
        if name in given:
            values[name] = _value(given[name], key, where, faults)
        elif key.default is REQUIRED:
            faults.add(where, "missing; " + _wanted(key))
        elif key.default is None or not _holds_sections(key.annotation):
            values[name] = key.default
        else:  # a default section, with its own defaults filled in
            values[name] = _value(plain(key.default), key, where, faults)
    return values


def _wanted(key: Key) -> str:
    return (
        "expected a section" if _is_section(key.annotation) else f"expected {describe_type(key[0])}"
    )


def _is_section(annotation: Any) -> bool:
    return annotation is Component or dataclasses.is_dataclass(annotation)


def _holds_sections(annotation: Any) -> bool:
    return _is_section(annotation) or typing.get_origin(annotation) is Mapping


def _value(given: Any, key: Key, path: str, faults: Faults) -> Any:
    annotation, _, marks = key
    optional = [a for a in typing.get_args(annotation) if a is not type(None)]
    if type(None) in typing.get_args(annotation) and len(optional) == 1:
        if given is None:
            return None
        inner = schema.split_annotation(optional[0])
        if _is_section(inner.annotation):
            return _value(given, inner, path, faults)
    if typing.get_origin(annotation) is Mapping:
        return _mapping(given, typing.get_args(annotation)[1], marks, path, faults)
    if annotation is Component:
        return _chosen(given, marks[0], path, faults)
    if dataclasses.is_dataclass(annotation):
        return _section(given, typing.cast(type, annotation), path, faults)
    try:
        wanted = annotation
        for mark in marks:
            wanted = Annotated[wanted, mark]
        value = coerce_value(given, wanted)
        for kind in ("host transform", "transform"):
            if kind in marks:
                calls(kind, value)
        return value
    except ValueError as e:
        problem = str(e)
        faults.append(f"{path} = {given!r}: {problem}" if given != "" else f"{path}: {problem}")
        return None


def _chosen(given: Any, kind: str, path: str, faults: Faults, default_name: str = "") -> Any:
    if not isinstance(given, Mapping):
        faults.add(path, f"expected a section such as {{'name': ...}}, got {given!r}")
        return None
    name = given.get("name", default_name)
    if not isinstance(name, str) or not name:
        faults.add(join_path(path, "name"), f"expected the name of a {kind}, got {name!r}")
        return None
    try:
        keys = component_keys(kind, name)
    except ValueError as e:
        faults.add(join_path(path, "name"), str(e))
        return None
    own = {k: v for k, v in given.items() if k != "name"}
    return Component(kind, name, _keys(own, keys, path, faults))


def _mapping(given: Any, item: Any, marks: tuple[str, ...], path: str, faults: Faults) -> Any:
    if not isinstance(given, Mapping):
        faults.add(path, f"expected a section of sections, got {given!r}")
        return None
    values = {}
    for name, section in given.items():
        where = join_path(path, name)
        if item is Component:
            kind = next(m for m in marks if m != RUNNING)
            values[name] = _chosen(section, kind, where, faults, default_name=name)
        elif dataclasses.is_dataclass(item):
            values[name] = _section(section, typing.cast(type, item), where, faults)
        else:
            values[name] = section
    return values


def _impossible(config: Config) -> Iterator[str]:
    """What no single key shows: values that cannot go together."""
    if config.batch_size % config.accumulate:
        yield (
            f"accumulate = {config.accumulate}: does not divide batch_size = {config.batch_size}"
        )
    if config.data.train_decode and config.data.placement == "device":
        yield (
            "data.placement = 'device': examples that data.train_decode makes anew in every epoch "
            "cannot be kept there; expected 'auto' or 'stream'"
        )
    if (config.data.tokenizer is None) != (config.data.encode is None):
        yield (
            "data.tokenizer, data.encode: texts need both, the tokenizer and how examples become "
            "fields of tokens"
        )
    if config.data.tokenizer is not None and config.data.train_decode:
        yield "data.train_decode: not for texts, which are encoded once; expected ''"
    total, unit = parse_duration(config.train_for)
    if total == 0:
        yield f"train_for = {config.train_for!r}: expected more than nothing"
    for path, duration in _durations(config):
        length, its_unit = parse_duration(duration)
        if path.startswith("schedule."):
            if its_unit == unit and length > total:
                whole = config.train_for
                yield f"{path} = {duration!r}: longer than the run, train_for = {whole!r}"
        elif length == 0:
            yield f"{path} = {duration!r}: expected more than nothing"


def _durations(config: Config) -> Iterator[tuple[str, str]]:
    for name in ("evaluate_every", "log_every", "checkpoint_every"):
        yield name, getattr(config, name)
    keys = component_keys("schedule", config.schedule.name)
    for name, value in config.schedule.keys.items():
        if "duration" in keys[name].marks:
            yield f"schedule.{name}", value


def calls(kind: str, text: str) -> list[Component]:
    """A pipeline's transforms, each with all of its keys. Raises `ValueError`."""
    chosen = []
    for name, args, kwargs in pipeline.parse_calls(text):
        keys = component_keys(kind, name)
        if len(args) > len(keys):
            raise ValueError(f"{name} takes at most {len(keys)} arguments: {', '.join(keys)}")
        given = dict(zip(keys, args, strict=False)) | kwargs
        faults = Faults()
        values = _keys(given, keys, "", faults)
        if faults:
            raise ValueError(f"{name}: " + "; ".join(faults))
        chosen.append(Component(kind, name, values))
    return chosen
