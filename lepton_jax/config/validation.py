"""From nested mappings to a `Config`, or one error that lists every fault.

A component's section (`model`, `task`, ...) is checked against the component's own signature; see
`schema.py`. Imports: no jax; a component's module only when it is chosen.
"""

import dataclasses
import typing
from collections.abc import Container, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

from lepton_jax.config.components import TABLES, Component, component_keys, find_component
from lepton_jax.config.config import Config, DataConfig, OptimizerConfig
from lepton_jax.config.faults import (
    Faults,
    KeyFault,
    add_no_section,
    add_others_key,
    add_unknown,
    add_unknown_component,
    choosing_overrides,
    error_of,
)
from lepton_jax.config.gate_text import read_gate_text
from lepton_jax.config.nearest_value import Mismatch, fit_value
from lepton_jax.config.pipeline import Pipeline, mend_calls, parse_calls
from lepton_jax.config.plain import to_plain
from lepton_jax.config.renamed import rename_keys
from lepton_jax.config.schema import (
    REQUIRED,
    Key,
    coerce_value,
    describe_type,
    parse_duration,
    signature_keys,
    split_annotation,
)
from lepton_jax.config.walk import join_key, to_tree
from lepton_jax.errors import quote


def validate_config(
    tree: Mapping[str, Any],
    name: str = "the config",
    notes: Sequence[str] = (),
    overrides: Mapping[str, Any] = MappingProxyType({}),
    before: Mapping[str, Any] = MappingProxyType({}),
) -> Config:
    """Reads nested mappings as a `Config`, with every default filled in.

    Main arguments:
      name: where the config comes from, such as its file.
      notes: what was dropped from the config, which an error tells where a key is missing.
      overrides: what a command line gave, by the paths of the keys.
      before: what the config had at these keys, and at those that they made it drop.

    Raises:
      UserError: listing every fault: the key, what was given, what is allowed, the nearest name.
        What the command line gave is named as it is written there, `--config.KEY`.
    """
    faults = Faults()
    config = _read_section(rename_keys(to_plain(tree)), Config, "", faults)
    if not faults:
        faults.extend(KeyFault(*found) for found in _find_contradictions(config))
    if faults:
        raise error_of(faults, name, notes, overrides, before)
    return config


def change_config(config: Config, change: Mapping[str, Any], name: str = "the config") -> Config:
    """Returns the config with some keys changed; another component starts from its own defaults.

    `change`: values by their paths, `{'optimizer.learning_rate': 0.1}`.
    Raises:
      UserError: where a key does not allow its value.
    """
    tree = config.to_dict()
    notes = []
    # Names first: they decide what the rest may be.
    for path in sorted(change, key=lambda p: (not p.endswith("name"), p.count("."))):
        *sections, key = path.split(".")
        at = tree
        for section in sections:
            if not isinstance(at.get(section), dict):
                at[section] = {}
            at = at[section]
        if key == "name" and at.get("name") != change[path]:
            notes += start_anew(at, sections, change[path], change)
        at[key] = change[path]
    return validate_config(tree, name, notes)


def start_anew(
    section: Any, path: Sequence[str], component: str, given: Container[str]
) -> list[str]:
    """Empties the section at `path` for another component, and returns a note that says so.

    The note names the keys of the section that are gone, but for those `given` anew.
    """
    stale = [k for k in section if k != "name"]
    for key in [*section]:
        del section[key]
    gone = [k for k in stale if ".".join([*path, k]) not in given]
    are = "is" if len(gone) == 1 else "are"
    dropped = f" ({', '.join(gone)} of the config {are} dropped)" if gone else ""
    return [f"{'.'.join(path)}: {component}, from its defaults{dropped}"]


def parse_pipeline(kind: str, text: str) -> Pipeline:
    """Reads `text` as transforms of one kind ('host transform', 'transform'), with all their keys.

    Raises:
      ValueError: with a sentence saying which transform or key is wrong; a `Mismatch` where the
        text that was meant is known.
    """
    try:
        calls = parse_calls(text)
    except ValueError as e:
        mended = mend_calls(text)
        raise Mismatch(f"{e} (did you mean {mended!r}?)" if mended else str(e), mended) from None
    transforms = []
    for name, args, kwargs in calls:
        try:
            declared = component_keys(kind, name)
        except ValueError as e:
            near = find_component(kind, name)
            raise Mismatch(str(e), text.replace(name, near, 1) if near else "") from None
        if len(args) > len(declared):
            names = ", ".join(declared)
            raise ValueError(f"{name} takes at most {len(declared)} arguments: {names}")
        faults = Faults()
        keys = _read_keys(dict(zip(declared, args, strict=False)) | kwargs, declared, "", faults)
        if faults:
            needed = [f"{k}=VALUE" for k, key in declared.items() if key.default is REQUIRED]
            form = f"; write {name}({', '.join(needed)})" if needed else ""
            raise ValueError(f"{name}: {'; '.join(map(str, faults))}{form}")
        transforms.append(Component(kind, name, keys))
    return Pipeline(text, tuple(transforms))


def _read_section(tree: Any, cls: type, path: str, faults: Faults) -> Any:
    if not isinstance(tree, Mapping):
        required = [k for k, key in signature_keys(cls).items() if key.default is REQUIRED]
        kind = "optimizer" if cls is OptimizerConfig else ""
        only = required[0] if len(required) == 1 or kind else ""
        add_no_section(tree, path, faults, only, kind)
        return None
    if cls is OptimizerConfig:
        return _read_optimizer(tree, path, faults)
    values = _read_keys(tree, signature_keys(cls), path, faults)
    return None if faults else cls(**values)


def _read_optimizer(tree: Mapping[str, Any], path: str, faults: Faults) -> Any:
    name = tree.get("name")
    of_optax: dict[str, Key] = {}
    if isinstance(name, str):
        try:
            of_optax = component_keys("optimizer", name)
        except ValueError as e:
            add_unknown_component("optimizer", name, f"{path}.name", str(e), faults)
            return None
    # The optimizer's own default, e.g. adamw's weight decay, is the section's default.
    of_section = {
        k: key._replace(default=of_optax[k].default) if k in of_optax else key
        for k, key in signature_keys(OptimizerConfig).items()
        if k != "keys"
    }
    of_optax = {k: key for k, key in of_optax.items() if k not in (*of_section, "keys")}
    values = _read_keys(tree, of_optax | of_section, path, faults)
    if faults:
        return None
    keys = {k: values.pop(k) for k in of_optax}
    return OptimizerConfig(**values, keys=keys)


def _read_keys(
    tree: Mapping[str, Any], keys: dict[str, Key], path: str, faults: Faults
) -> dict[str, Any]:
    """Checks the values of a section against its keys, and fills in the defaults."""
    unknown = [name for name in tree if name not in keys]
    meant = {add_unknown(name, tree[name], keys, path, faults) for name in unknown}
    values = {}
    for name, key in keys.items():
        where = join_key(path, name)
        if name in tree:
            values[name] = _read_value(tree[name], key, where, faults)
        elif key.default is REQUIRED and name in meant:
            continue  # given by another name, as was said
        elif key.default is REQUIRED:
            section = _is_section(key.annotation)
            expected = "a section" if section else describe_type(_marked(key))
            faults.add(where, f"missing; expected {expected}")
        elif key.default is None or not _holds_sections(key.annotation):
            values[name] = key.default
        else:  # a default section, with its own defaults filled in
            values[name] = _read_value(to_tree(key.default), key, where, faults)
    return values


def _is_section(annotation: Any) -> bool:
    return annotation is not Pipeline and dataclasses.is_dataclass(annotation)


def _holds_sections(annotation: Any) -> bool:
    return _is_section(annotation) or typing.get_origin(annotation) is Mapping


def _read_value(value: Any, key: Key, path: str, faults: Faults) -> Any:
    """Checks one value, or a section with all its keys, against the declaration of its key."""
    annotation, default, _ = key
    if value is None and isinstance(default, str | Pipeline) and not default:
        return default  # None switches off what '' switches off
    if type(value) is type(default) is float and value == default:
        return value  # also where it is infinite
    options = typing.get_args(annotation)
    sections = [o for o in options if o is not type(None)]
    if type(None) in options and len(sections) == 1:
        if value is None:
            return None
        inner = split_annotation(sections[0])
        if _is_section(inner.annotation):
            return _read_value(value, inner, path, faults)
    if typing.get_origin(annotation) is Mapping:
        return _read_mapping(value, options[1], key, path, faults)
    if annotation is Component:
        default_name = default.name if isinstance(default, Component) else ""
        return _read_component(value, _kind_of(key), path, faults, default_name)
    if _is_section(annotation):
        return _read_section(value, annotation, path, faults)
    try:
        if annotation is Pipeline:
            return parse_pipeline(_kind_of(key), coerce_value(value, str))
        return fit_value(value, _marked(key), default)
    except Mismatch as e:
        meant = [f"{path}={e.meant}"] if e.meant else []
        faults.add(path, str(e), path, *meant, default=None if default is REQUIRED else default)
    except ValueError as e:
        faults.add(path, str(e))
    return None


def _marked(key: Key) -> Any:
    """Returns the annotation of a key with its marks, as it was declared."""
    marked = key.annotation
    for mark in key.marks:
        marked = Annotated[marked, mark]
    return marked


def _kind_of(key: Key) -> str:
    """Returns the kind of component that a key takes: 'model', 'transform' ..."""
    return next(mark for mark in key.marks if mark in TABLES)


def _read_component(
    tree: Any, kind: str, path: str, faults: Faults, default_name: str = ""
) -> Component | None:
    if not isinstance(tree, Mapping):
        add_no_section(tree, path, faults, "name" if isinstance(tree, str) else "", kind)
        return None
    name = tree.get("name", default_name)
    if not isinstance(name, str) or not name:
        cure = ""
        if callable(name):  # a class that can be imported is its name by now, see `to_plain`
            called = getattr(name, "__name__", type(name).__name__)
            cure = (
                "; it cannot be found by a name: define it at the top of a module, "
                f"my_pkg/parts.py, and give 'my_pkg.parts:{called}' or the class"
            )
        faults.add(
            join_key(path, "name"), f"expected the name of a {kind}, got {quote(name)}{cure}"
        )
        return None
    try:
        declared = component_keys(kind, name)
    except ValueError as e:
        add_unknown_component(kind, name, join_key(path, "name"), str(e), faults)
        return None
    keys = {k: v for k, v in tree.items() if k != "name"}
    keys = {k: v for k, v in keys.items() if not add_others_key(kind, name, k, v, path, faults)}
    return Component(kind, name, _read_keys(keys, declared, path, faults))


def _read_mapping(tree: Any, item: Any, key: Key, path: str, faults: Faults) -> Any:
    """Checks a mapping whose names the user chose; `item` is the type of what they stand for."""
    if not isinstance(tree, Mapping):
        problem = f"expected a section of sections, got {quote(tree)}"
        meant: list[str] = []
        if item is Component and isinstance(tree, str) and tree:
            meant = choosing_overrides(_kind_of(key), tree, f"{path}.{tree}")
            problem += f" (did you mean {meant[0]}?)"
        faults.add(path, problem, path, *meant)
        return None
    values = {}
    for name, section in tree.items():
        where = join_key(path, name)
        if not name:
            faults.add(path, "expected a name for each section, got ''")
        if item is Component:
            values[name] = _read_component(section, _kind_of(key), where, faults, name)
        elif _is_section(item):
            values[name] = _read_section(section, item, where, faults)
        else:
            values[name] = section
    return values


def _find_contradictions(config: Config) -> Iterator[tuple[Any, ...]]:
    """Yields what no single key shows, values that cannot go together: the parts of a `KeyFault`,
    a key and its problem at least.
    """
    if size := config.batch_size % config.accumulate and config.batch_size:
        fits = [n for n in range(1, size + 1) if size % n == 0]
        near = min(fits, key=lambda n: abs(n - config.accumulate))
        problem = f"{config.accumulate} does not divide batch_size = {size} (did you mean {near}?)"
        yield "accumulate", problem, "accumulate", (f"accumulate={near}",)
    if config.data.train_decode and config.data.placement == "device":
        yield (
            "data.placement",
            "'device': data.train_decode makes examples anew in every epoch, so they cannot be "
            "kept on the device; expected 'auto' or 'stream'",
        )
    if (config.data.tokenizer is None) != (config.data.encode is None):
        yield "", "data.tokenizer, data.encode: texts need both keys, got one of them"
    if config.data.tokenizer is not None and config.data.train_decode:
        yield "data.train_decode", "texts are encoded only once; expected ''"
    if config.init_fresh and not config.init_from:
        yield "init_fresh", f"{config.init_fresh!r} needs init_from, the weights of all others"
    yield from _find_fold_contradictions(config.data)
    yield from _find_gate_faults(config.gate)
    total, unit = parse_duration(config.train_for)
    if total == 0:
        yield "train_for", f"expected more than nothing, got {config.train_for!r}"
    for name in ("evaluate_every", "log_every", "checkpoint_every", "checkpoint_milestones"):
        duration = getattr(config, name)
        if duration is not None and parse_duration(duration)[0] == 0:
            yield name, f"expected more than nothing, got {duration!r}"
    for name, duration in schedule_durations(config):
        if isinstance(duration, tuple):  # points, of which a shorter run does not reach the last
            continue
        length, its_unit = parse_duration(duration)
        if its_unit == unit and length > total:
            kind, chosen = "schedule", config.schedule.name
            is_usual = duration == component_keys(kind, chosen)[name].default
            whose = f", the default of {chosen}," if is_usual else ""
            tenth = (
                f"{total / 10:g} {unit}" if unit == "epochs" else f"{-(-total // 10):_.0f} {unit}"
            )
            given = f"{kind}.name={chosen}" if is_usual else f"{kind}.{name}"
            meant = [*([given] if is_usual else ()), f"{kind}.{name}={tenth}"]
            yield (
                f"schedule.{name}",
                f"{duration!r}{whose} is longer than the run, train_for = {config.train_for!r}; "
                f"expected at most {config.train_for!r}",
                given,
                tuple(meant),
            )


def _find_fold_contradictions(data: DataConfig) -> Iterator[tuple[str, str]]:
    if data.folds is None:
        if data.fold:
            yield "data.fold", f"{data.fold} needs data.folds, the number of folds"
    elif data.folds == 1:
        yield "data.folds", "expected 2 or more, or None for no cross-validation, got 1"
    elif data.fold >= data.folds:
        yield "data.fold", f"folds count from 0: expected 0 to {data.folds - 1}, got {data.fold}"


def _find_gate_faults(gate: str) -> Iterator[tuple[Any, ...]]:
    try:
        read_gate_text(gate)
    except Mismatch as e:
        yield "gate", str(e), "gate", (f"gate={e.meant}",) if e.meant else ()


def schedule_durations(config: Config) -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Yields the schedule's keys that are a duration, or several, with their values."""
    declared = component_keys("schedule", config.schedule.name)
    for name, value in config.schedule.keys.items():
        annotation, _, marks = declared[name]
        if typing.get_origin(annotation) is tuple and value:
            marks = split_annotation(typing.get_args(annotation)[0]).marks
        if "duration" in marks:
            yield name, value
