"""A recipe for one run: its keys, what may vary in them, and its fingerprint.

`validation.py` makes a `Config` from what a config file returned. Imports: no jax; a component's
module only when it is chosen.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lepton_jax.config.components import Component, component_keys
from lepton_jax.config.schema import (
    HYPER,
    LATER,
    REQUIRED,
    RUNNING,
    Duration,
    Hyper,
    Key,
    Later,
    PositiveInt,
    Rate,
    Running,
    signature_keys,
)
from lepton_jax.config.walk import join_path
from lepton_jax.trees import flatten_dict

ModelChoice = Annotated[Component, "model"]
TaskChoice = Annotated[Component, "task"]
SourceChoice = Annotated[Component, "source"]
TokenizerChoice = Annotated[Component, "tokenizer"]
EncodingChoice = Annotated[Component, "encoding"]
ScheduleChoice = Annotated[Component, "schedule"]
StrategyChoice = Annotated[Component, "strategy"]
WriterChoices = Annotated[Mapping[str, Component], "writer"]
MetricChoices = Annotated[Mapping[str, Component], "metric"]
HostPipeline = Annotated[str, "host transform"]
DevicePipeline = Annotated[str, "transform"]

CONSTANT_SCHEDULE = Component("schedule", "constant", {})
JIT_STRATEGY = Component("strategy", "jit", {})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where examples come from and what happens to them on the way to the model.

    `decode` runs once on the host and is cached; `augment` runs inside the training step;
    `prepare` runs inside every step and travels with the exported program. `train_decode` stands
    in for `decode` in training: examples are then read, decoded and drawn anew in every epoch.
    Data with texts has both of `tokenizer`, trained on the training split alone, and `encode`, how
    an example's texts become fields of tokens.
    """

    source: SourceChoice
    tokenizer: Later[TokenizerChoice | None] = None
    encode: Later[EncodingChoice | None] = None
    decode: HostPipeline = ""
    train_decode: HostPipeline = ""
    order: Later[Literal["shuffled", "contiguous"]] = "shuffled"
    """Of training examples: anew every epoch; or so that each row of the batch goes on where it
    stopped in the batch before, for texts cut into chunks."""
    buckets: Later[tuple[int, ...]] = ()
    """Lengths, from short to long, to which training batches of texts are cut: a batch then holds
    texts that fit the same one."""
    augment: DevicePipeline = ""
    prepare: DevicePipeline = ""
    valid_fraction: Annotated[float, "in [0, 1)"] = 0.1
    split_seed: int = 0
    placement: Running[Literal["auto", "device", "stream"]] = "auto"
    workers: Running[int | None] = None


@dataclass(frozen=True, kw_only=True)
class OptimizerGroup:
    """Parameters whose path matches `pattern` (a regular expression), treated differently."""

    pattern: str
    learning_rate: Hyper = 1.0
    """Multiplies the optimizer's learning rate; 0.0 freezes the group."""
    weight_decay: Hyper = 1.0
    """Multiplies the optimizer's weight decay; 0.0 switches it off."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """optax's optimizer of that name; `keys` are its own parameters."""

    name: str
    learning_rate: Hyper
    weight_decay: Hyper = 0.0
    """Decoupled where the optimizer has its own (adamw, lion ...), else added to the gradient."""
    clip_norm: float | None = None
    groups: Mapping[str, OptimizerGroup] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021): W + (alpha / rank) A B, of which A and B alone train."""

    rank: PositiveInt
    alpha: Annotated[float, HYPER, "> 0"]
    pattern: str = r"\.(q|v)\.kernel$"
    """The matrices W, by their paths; by default those of queries and values."""
    train: str = ""
    """Parameters that are trained as they are, such as a new last layer."""
    init_from: str = ""
    """A file of adapters (`export --format=lora`) to begin with."""


@dataclass(frozen=True, kw_only=True)
class BestConfig:
    """Which checkpoint is the best one: the metric as the record names it, and its direction."""

    metric: str = "valid/loss"
    mode: Literal["max", "min"] = "min"


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """A further evaluation: a split of the run's own source, or of another one."""

    split: str = "test"
    source: SourceChoice | None = None
    metrics: MetricChoices = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Config:
    """One complete recipe for one run."""

    model: ModelChoice
    task: TaskChoice
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: ScheduleChoice = CONSTANT_SCHEDULE
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
    """A workdir, checkpoint, bundle or folder of Hugging Face whose weights a fresh run starts
    from."""
    lora: Later[LoraConfig | None] = None
    """Adapters to train in place of the model's parameters."""
    evaluate_every: Duration = "1 epochs"
    best: BestConfig = BestConfig()
    strategy: Running[StrategyChoice] = JIT_STRATEGY
    """Where the step runs; it changes the speed, never what is computed."""
    patience: Running[PositiveInt] = 1800
    """Seconds without a step, an evaluation or a save after which the run ends as hung."""
    heartbeat: Running[PositiveInt] = 30
    """Seconds of silence after which one of several processes counts as lost; a killed one is
    noticed at once."""
    profile: Running[tuple[int, int] | None] = None
    """(first step, steps) of which a jax.profiler trace is written into the workdir."""
    metrics: Running[MetricChoices] = field(default_factory=dict)
    """Beside the task's own."""
    evals: Running[Mapping[str, EvalConfig]] = field(default_factory=dict)
    log_every: Running[Duration] = "50 steps"
    checkpoint_every: Running[Duration] = "1 epochs"
    keep_last: Running[PositiveInt] = 2
    writers: Running[WriterChoices] = field(
        default_factory=lambda: {"tensorboard": Component("writer", "tensorboard", {})}
    )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dicts with every default written out; `validate` reads them back."""
        return plain(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def computing(self) -> dict[str, Any]:
        """`{'optimizer.learning_rate': 0.1, ...}`: what decides the numbers of a run."""
        keys = dict(_keys(self))
        running = {k for k, key in keys.items() if RUNNING in key.marks}
        later = {k: plain(key.default) for k, key in keys.items() if LATER in key.marks}
        flat = flatten_dict(self.to_dict())
        return {
            k: v
            for k, v in flat.items()
            if not any(_under(k, r) for r in running) and not (k in later and v == later[k])
        }

    def fingerprint(self) -> str:
        """Twelve hex digits that name the computing keys, in whatever order they were written."""
        text = json.dumps(self.computing(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def list_differences(old: Config, new: Config) -> list[str]:
    """The computing keys that differ, a line each: `batch_size: 32 -> 64`."""
    a, b = old.computing(), new.computing()
    return [
        f"{k}: {a.get(k, '(absent)')!r} -> {b.get(k, '(absent)')!r}"
        for k in dict.fromkeys([*a, *b])
        if a.get(k, REQUIRED) != b.get(k, REQUIRED)
    ]


def find_user_modules(config: Config) -> list[str]:
    """The modules of the user's own that a config names ('my_pkg.nets:Net'), also in pipelines."""
    values = map(str, flatten_dict(config.to_dict()).values())
    return sorted(
        {m for value in values for m in re.findall(r"([A-Za-z_][\w.]*):[A-Za-z_]", value)}
    )


def plain(value: Any) -> Any:
    """Nested dicts and lists, as JSON takes them."""
    if isinstance(value, Component):
        return {"name": value.name, **plain(value.keys)}
    if isinstance(value, OptimizerConfig):
        own = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        keys = own.pop("keys")
        return own | keys
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value


def _keys(section: Any, path: str = "") -> Iterator[tuple[str, Key]]:
    """`('data.workers', Key(...))` and so on, for every key of a section."""
    if isinstance(section, Component):
        for name, key in component_keys(section.kind, section.name).items():
            yield join_path(path, name), key
    elif dataclasses.is_dataclass(section) and not isinstance(section, OptimizerConfig):
        cls: Any = type(section)
        for name, key in signature_keys(cls).items():
            yield join_path(path, name), key
            yield from _keys(getattr(section, name), join_path(path, name))


def _under(path: str, section: str) -> bool:
    return path == section or path.startswith(section + ".")
