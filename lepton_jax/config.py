"""A recipe for one run: its keys, their validation, its fingerprint.

`validate` turns what a config file returned into a `Config`, or raises one `UserError` that lists
every fault. Component sections (`model`, `task`, ...) are checked against the component's own
signature; see `schema.py`. Imports: no jax; a component's module only when it is chosen.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lepton_jax import pipeline, schema
from lepton_jax.components import resolve
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.schema import (
    HYPER,
    REQUIRED,
    RUNNING,
    Duration,
    Hyper,
    Key,
    PositiveInt,
    Rate,
    Running,
    coerce,
    describe,
    keys_by_default,
    keys_of,
    parse_duration,
)


@dataclass(frozen=True)
class Chosen:
    """A component chosen by name, with every one of its keys filled in."""

    kind: str
    name: str
    keys: Mapping[str, Any]

    def build(self, *args: Any, hyper: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Calls the component; `hyper` replaces keys by (traced) values of the same name."""
        return resolve(self.kind, self.name)(*args, **{**self.keys, **(hyper or {}), **kwargs})

    def hyper(self) -> dict[str, float]:
        """The numbers that trials may vary. Zero and None mean 'off', which is another program."""
        marked = component_keys(self.kind, self.name)
        return {k: v for k, v in self.keys.items() if HYPER in marked[k].marks and v}


Model = Annotated[Chosen, "model"]
Task = Annotated[Chosen, "task"]
Source = Annotated[Chosen, "source"]
Schedule = Annotated[Chosen, "schedule"]
Writers = Annotated[Mapping[str, Chosen], "writer"]
Metrics = Annotated[Mapping[str, Chosen], "metric"]
HostPipeline = Annotated[str, "host transform"]
DevicePipeline = Annotated[str, "transform"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where examples come from and what happens to them on the way to the model.

    `decode` runs once on the host and is cached; `augment` runs inside the training step;
    `prepare` runs inside every step and travels with the exported program.
    """

    source: Source
    decode: HostPipeline = ""
    augment: DevicePipeline = ""
    prepare: DevicePipeline = ""
    valid_fraction: Annotated[float, "in [0, 1)"] = 0.1
    split_seed: int = 0
    placement: Running[Literal["auto", "device", "stream"]] = "auto"
    workers: Running[int | None] = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Parameters whose path matches `pattern` (a regular expression), treated differently."""

    pattern: str
    learning_rate: Hyper = 1.0
    """Multiplies the optimizer's learning rate; 0.0 freezes the group."""
    weight_decay: Hyper = 1.0
    """Multiplies the optimizer's weight decay; 0.0 switches it off."""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """optax's optimizer of that name; `keys` are its own parameters."""

    name: str
    learning_rate: Hyper
    weight_decay: Hyper = 0.0
    """Decoupled where the optimizer has its own (adamw, lion ...), else added to the gradient."""
    clip_norm: float | None = None
    groups: Mapping[str, Group] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Best:
    """Which checkpoint is the best one: the metric as the record names it, and its direction."""

    metric: str = "valid/loss"
    mode: Literal["max", "min"] = "min"


@dataclass(frozen=True, kw_only=True)
class Eval:
    """A further evaluation: a split of the run's own source, or of another one."""

    split: str = "test"
    source: Source | None = None
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One complete recipe for one run."""

    model: Model
    task: Task
    data: Data
    optimizer: Optimizer
    schedule: Schedule = Chosen("schedule", "constant", {})
    train_for: Duration
    batch_size: PositiveInt
    accumulate: PositiveInt = 1
    """Microbatches a step; BatchNorm's statistics are then per microbatch."""
    ema: Rate = 0.0
    """Decay of the parameters' moving average, which evaluation and export then use; 0.0: none."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Of the computation. Parameters stay float32 under bfloat16."""
    seed: Annotated[int, ">= 0"] = 0
    init_from: str = ""
    """A workdir, checkpoint or bundle whose weights a fresh run starts from."""
    evaluate_every: Duration = "1 epochs"
    best: Best = Best()
    metrics: Running[Metrics] = field(default_factory=dict)
    """Beside the task's own."""
    evals: Running[Mapping[str, Eval]] = field(default_factory=dict)
    log_every: Running[Duration] = "50 steps"
    checkpoint_every: Running[Duration] = "1 epochs"
    keep_last: Running[PositiveInt] = 2
    writers: Running[Writers] = field(
        default_factory=lambda: {"tensorboard": Chosen("writer", "tensorboard", {})}
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts with every default written out; `validate` reads them back."""
        return _plain(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def computing(self) -> dict[str, Any]:
        """`{'optimizer.learning_rate': 0.1, ...}`: what decides the numbers of a run."""
        running = {k for k, v in _leaves(Config, self) if RUNNING in v}
        flat = dict(flatten(self.to_dict()))
        return {k: v for k, v in flat.items() if not any(_under(k, r) for r in running)}

    def fingerprint(self) -> str:
        """Twelve hex digits that name the computing keys, in whatever order they were written."""
        text = json.dumps(self.computing(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def component_keys(kind: str, name: str) -> dict[str, Key]:
    """The config keys of a component. Raises `ValueError` where there is no such component."""
    component = resolve(kind, name)
    return keys_by_default(component) if kind == "optimizer" else keys_of(component)


def calls(kind: str, text: str) -> list[Chosen]:
    """A pipeline's transforms, each with all of its keys. Raises `ValueError`."""
    chosen = []
    for name, args, kwargs in pipeline.parse(text):
        keys = component_keys(kind, name)
        if len(args) > len(keys):
            raise ValueError(f"{name} takes at most {len(keys)} arguments: {', '.join(keys)}")
        given = dict(zip(keys, args, strict=False)) | kwargs
        faults = Faults()
        values = _keys(given, keys, "", faults)
        if faults:
            raise ValueError(f"{name}: " + "; ".join(faults))
        chosen.append(Chosen(kind, name, values))
    return chosen


class Faults(list[str]):
    """What is wrong with a config, a line each."""

    def add(self, path: str, problem: str) -> None:
        self.append(f"{path}: {problem}" if path else problem)


def validate(given: Mapping[str, Any], name: str = "the config") -> Config:
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


def _section(given: Any, cls: type, path: str, faults: Faults) -> Any:
    if not isinstance(given, Mapping):
        faults.add(path, f"expected a section, got {given!r}")
        return None
    keys = keys_of(cls)
    if cls is Optimizer:
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
    return Optimizer(**{k: values[k] for k in keys}, keys={k: values[k] for k in own})


def _keys(
    given: Mapping[str, Any], keys: dict[str, Key], path: str, faults: Faults
) -> dict[str, Any]:
    """Checks `given` against `keys` and fills in the defaults."""
    values = {}
    for name in given:
        if name not in keys:
            near = did_you_mean(name, keys)
            allowed = "" if near else f"; there are: {', '.join(keys)}" if keys else "; none is"
            faults.add(_join(path, name), f"no such key{near}{allowed}")
    for name, key in keys.items():
        where = _join(path, name)
        if name in given:
            values[name] = _value(given[name], key, where, faults)
        elif key.default is REQUIRED:
            faults.add(where, "missing; " + _wanted(key))
        elif key.default is None or not _holds_sections(key.annotation):
            values[name] = key.default
        else:  # a default section, with its own defaults filled in
            values[name] = _value(_plain(key.default), key, where, faults)
    return values


def _wanted(key: Key) -> str:
    return "expected a section" if _is_section(key.annotation) else f"expected {describe(key[0])}"


def _is_section(annotation: Any) -> bool:
    return annotation is Chosen or dataclasses.is_dataclass(annotation)


def _holds_sections(annotation: Any) -> bool:
    return _is_section(annotation) or typing.get_origin(annotation) is Mapping


def _value(given: Any, key: Key, path: str, faults: Faults) -> Any:
    annotation, _, marks = key
    optional = [a for a in typing.get_args(annotation) if a is not type(None)]
    if type(None) in typing.get_args(annotation) and len(optional) == 1:
        if given is None:
            return None
        inner = schema.key(optional[0])
        if _is_section(inner.annotation):
            return _value(given, inner, path, faults)
    if typing.get_origin(annotation) is Mapping:
        return _mapping(given, typing.get_args(annotation)[1], marks, path, faults)
    if annotation is Chosen:
        return _chosen(given, marks[0], path, faults)
    if dataclasses.is_dataclass(annotation):
        return _section(given, typing.cast(type, annotation), path, faults)
    try:
        wanted = annotation
        for mark in marks:
            wanted = Annotated[wanted, mark]
        value = coerce(given, wanted)
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
        faults.add(_join(path, "name"), f"expected the name of a {kind}, got {name!r}")
        return None
    try:
        keys = component_keys(kind, name)
    except ValueError as e:
        faults.add(_join(path, "name"), str(e))
        return None
    own = {k: v for k, v in given.items() if k != "name"}
    return Chosen(kind, name, _keys(own, keys, path, faults))


def _mapping(given: Any, item: Any, marks: tuple[str, ...], path: str, faults: Faults) -> Any:
    if not isinstance(given, Mapping):
        faults.add(path, f"expected a section of sections, got {given!r}")
        return None
    values = {}
    for name, section in given.items():
        where = _join(path, name)
        if item is Chosen:
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


def hyper_of(config: Config) -> dict[str, Any]:
    """The numbers of a config that trials may vary, by the section that consumes them."""
    optimizer = config.optimizer
    rates: dict[str, Any] = {"learning_rate": optimizer.learning_rate}
    if optimizer.weight_decay:
        rates["weight_decay"] = optimizer.weight_decay
    marked = component_keys("optimizer", optimizer.name)
    rates |= {k: v for k, v in optimizer.keys.items() if HYPER in marked[k].marks and v}
    rates["groups"] = {
        name: {k: v for k, v in (("lr", g.learning_rate), ("wd", g.weight_decay)) if v}
        for name, g in optimizer.groups.items()
    }
    return {
        "model": config.model.hyper(),
        "task": config.task.hyper(),
        "optimizer": rates,
        "augment": [call.hyper() for call in calls("transform", config.data.augment)],
        "ema": {"decay": config.ema} if config.ema else {},
    }


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`('optimizer.learning_rate', 0.1)` and so on, in order."""
    for key, value in tree.items():
        path = _join(prefix, key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, path)
        else:
            yield path, value


def differences(old: Config, new: Config) -> list[str]:
    """The computing keys that differ, a line each: `batch_size: 32 -> 64`."""
    a, b = old.computing(), new.computing()
    return [
        f"{k}: {a.get(k, '(absent)')!r} -> {b.get(k, '(absent)')!r}"
        for k in dict.fromkeys([*a, *b])
        if a.get(k, REQUIRED) != b.get(k, REQUIRED)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, Chosen):
        return {"name": value.name, **_plain(value.keys)}
    if isinstance(value, Optimizer):
        own = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        keys = own.pop("keys")
        return own | keys
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _leaves(cls: type, value: Any, path: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, key in keys_of(cls).items():
        where = _join(path, name)
        yield where, key.marks
        if dataclasses.is_dataclass(key.annotation) and key.annotation not in (Chosen, Optimizer):
            yield from _leaves(typing.cast(type, key.annotation), getattr(value, name), where)


def _under(path: str, section: str) -> bool:
    return path == section or path.startswith(section + ".")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else str(name)
