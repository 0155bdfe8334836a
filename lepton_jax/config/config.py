"""A recipe for one run: its sections and keys, and the names that its values give it.

`validation.py` makes a `Config` from what a config file returned; `walk.py` lists its values.
Imports: no jax; a component's module only when it is chosen.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lepton_jax.config.components import Component, component_keys
from lepton_jax.config.pipeline import NO_TRANSFORMS, Pipeline
from lepton_jax.config.schema import (
    HYPER,
    NEVER_OFF,
    REQUIRED,
    Duration,
    Key,
    Later,
    NaturalInt,
    PositiveInt,
    Rate,
    RegularExpression,
    Running,
    Seed,
    Strength,
    Traced,
    means_same,
    signature_keys,
)
from lepton_jax.config.walk import digest_tree, to_tree, walk
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
HostPipeline = Annotated[Pipeline, "host transform"]
DevicePipeline = Annotated[Pipeline, "transform"]

CONSTANT_SCHEDULE = Component("schedule", "constant", {})
JIT_STRATEGY = Component("strategy", "jit", {})
TENSORBOARD = Component("writer", "tensorboard", {})


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where examples come from, and what happens to them on the way to the model.

    An example passes `decode` (or `train_decode`), `tokenizer` and `encode` on the host, then
    `augment` and `prepare` on the device.
    """

    source: SourceChoice
    """The splits, each an indexable of examples."""
    tokenizer: Later[TokenizerChoice | None] = None
    """How texts become tokens, trained on the training split alone; None: no texts. Texts need
    both `tokenizer` and `encode`."""
    encode: Later[EncodingChoice | None] = None
    """How the tokens of an example become its fields; None: no texts."""
    decode: HostPipeline = NO_TRANSFORMS
    """Transforms of raw examples on the host, whose results are cached; '': none."""
    train_decode: HostPipeline = NO_TRANSFORMS
    """Takes the place of `decode` in training; it runs anew in every epoch, so its transforms may
    draw. '': `decode` serves training too."""
    order: Later[Literal["shuffled", "contiguous"]] = "shuffled"
    """The order of training examples: drawn anew every epoch; or contiguous, each row of the batch
    going on where it stopped in the batch before, for texts cut into chunks."""
    buckets: Later[tuple[PositiveInt, ...]] = ()
    """Lengths in tokens, from short to long. A training batch holds texts that fit the same length,
    and is cut to it; (): batches are not cut."""
    augment: Traced[DevicePipeline] = NO_TRANSFORMS
    """Random transforms inside the training step alone; '': none."""
    prepare: DevicePipeline = NO_TRANSFORMS
    """Transforms inside every step, which also travel with the exported program; '': none."""
    valid_fraction: Annotated[float, "in [0, 1)"] = 0.1
    """The share of 'train' that becomes 'valid', where the source has no 'valid'."""
    split_seed: Seed = 0
    """Seed of the draws that take 'valid' out of 'train' and divide examples into folds."""
    folds: Later[PositiveInt | None] = None
    """Cross-validation: the number of folds, of which one is held out as 'test'; None: 'test' is
    the source's own."""
    fold: Later[NaturalInt] = 0
    """Which of the folds is held out, counted from 0."""
    folds_of: Later[Literal["train", "all"]] = "train"
    """What is divided into folds: 'train', or all splits of the source together."""
    placement: Running[Literal["auto", "device", "stream"]] = "auto"
    """Where training examples are kept: on the device, or on the host and streamed; 'auto': on the
    device if they fit."""
    workers: Running[Annotated[int, ">= 0"] | None] = None
    """Processes that make streamed batches; 0: threads; None: a few batches are timed to choose."""


@dataclass(frozen=True, kw_only=True)
class OptimizerGroup:
    """Parameters that the optimizer treats differently from the others."""

    pattern: RegularExpression
    """A regular expression that finds the group's parameters by their paths."""
    learning_rate: Strength = 1.0
    """Multiplies the optimizer's learning rate; 0.0 freezes the group."""
    weight_decay: Strength = 1.0
    """Multiplies the optimizer's weight decay; 0.0 switches it off."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """optax's optimizer of that name. Its own parameters are keys beside the ones here."""

    name: str
    """Which optimizer: 'adamw', 'sgd' ..., or the user's own 'my_pkg.module:name'."""
    learning_rate: Annotated[Strength, NEVER_OFF]
    """The peak of the learning rate, which the schedule scales."""
    weight_decay: Strength = 0.0
    """Decoupled where the optimizer has its own (adamw, lion ...), else added to the gradient.
    Where the optimizer has a default of its own, that is the default here too; 0.0: none."""
    clip_norm: Annotated[float, "> 0"] | None = None
    """The largest global norm of the gradients, which are scaled down to it; None: no limit."""
    groups: Mapping[str, OptimizerGroup] = field(default_factory=dict)
    """Parameters with other rates, by a name of the user's choice."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """The optimizer's own parameters. In a config they stand in the section itself."""

    def entries(self) -> Iterator[tuple[str, Any, Key]]:
        """Yields the section's keys, then the optimizer's own, each with value and declaration."""
        for name, key in signature_keys(OptimizerConfig).items():
            if name != "keys":
                yield name, getattr(self, name), key
        declared = component_keys("optimizer", self.name)
        for name, value in self.keys.items():
            yield name, value, declared[name]

    def replace(self, values: Mapping[str, Any]) -> "OptimizerConfig":
        """Returns the section with other values for these entries."""
        of_optax = {k: v for k, v in values.items() if k in self.keys}
        of_section = {k: v for k, v in values.items() if k not in self.keys}
        return dataclasses.replace(self, **of_section, keys={**self.keys, **of_optax})


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021): W + (alpha / rank) A B, of which A and B alone train."""

    rank: PositiveInt
    """The inner size of A B."""
    alpha: Annotated[float, HYPER, "> 0"]
    """Scales A B, together with `rank`."""
    pattern: RegularExpression = r"\.(q|v)\.kernel$"
    """A regular expression of the paths of the matrices W; by default of queries and values."""
    train: RegularExpression = ""
    """A regular expression that finds further parameters to train whole, such as a new last layer;
    '': none."""
    init_from: str = ""
    """A file of adapters (`export --format=lora`) to begin with; '': new adapters."""


@dataclass(frozen=True, kw_only=True)
class BestConfig:
    """Which checkpoint is the best one; export and the evaluation on 'test' use it."""

    metric: str = "valid/loss"
    """The metric by which checkpoints are compared, as the record names it."""
    mode: Literal["max", "min"] = "min"
    """Whether the largest or the smallest value of the metric is best."""


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """Ends the run before `train_for` once `best.metric` no longer improves.

    The schedule stays the one that is drawn over `train_for`.
    """

    patience: PositiveInt
    """The number of evaluations in a row without an improvement after which the run ends."""
    min_delta: Annotated[float, ">= 0"] = 0.0
    """An improvement is better than the last one by more than this."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """A further evaluation: a split of the run's own source, or of another one."""

    split: str = "test"
    """The split to measure on."""
    source: SourceChoice | None = None
    """Where the split comes from; None: the run's own source."""
    metrics: MetricChoices = field(default_factory=dict)
    """Metrics to measure there, beside the task's and the run's, by a name of the user's choice."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One complete recipe for one run.

    A key that is `Running` says where or how the run is carried out. The other keys decide its
    numbers, and together have a fingerprint.
    """

    model: Traced[ModelChoice]
    """The Flax module that is trained."""
    task: Traced[TaskChoice]
    """How a batch becomes a loss, metrics and predictions."""
    data: DataConfig
    """Where examples come from, and what happens to them."""
    optimizer: OptimizerConfig
    """How gradients change the parameters."""
    schedule: ScheduleChoice = CONSTANT_SCHEDULE
    """The learning rate over the run, as a share of its peak; by default constant."""
    train_for: Duration
    """The length of the run."""
    batch_size: PositiveInt
    """Examples of a step, on all devices together."""
    accumulate: PositiveInt = 1
    """Microbatches of a step; the statistics of BatchNorm are then per microbatch."""
    ema: Rate = 0.0
    """Decay of the parameters' moving average, which evaluation and export then use; 0.0: none. In
    step t it is at most (1 + t) / (10 + t): the average soon forgets the initial weights."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """The dtype of the computation. Parameters stay float32 under bfloat16."""
    seed: Seed = 0
    """Seeds the parameters, the order of examples and every draw."""
    init_from: str = ""
    """A workdir, checkpoint, bundle or folder of Hugging Face whose weights a fresh run starts
    from; '': weights are drawn."""
    init_fresh: Later[RegularExpression] = ""
    """A regular expression of parameters that `init_from` leaves freshly drawn, such as '^head'."""
    lora: Later[LoraConfig | None] = None
    """Adapters to train in place of the model's parameters; None: the parameters themselves."""
    evaluate_every: Duration = "1 epochs"
    """The time between evaluations on 'valid'."""
    best: BestConfig = BestConfig()
    """How the best checkpoint is chosen."""
    early_stopping: Later[EarlyStoppingConfig | None] = None
    """When the run ends early; None: it takes all steps of `train_for`."""
    strategy: Running[StrategyChoice] = JIT_STRATEGY
    """Where the step runs. It changes the speed, never what is computed."""
    hang_timeout: Running[PositiveInt] = 1800
    """Seconds without a step, an evaluation or a save after which the run ends as hung."""
    heartbeat: Running[PositiveInt] = 30
    """Seconds of silence after which one of several processes is lost; a killed one is at once."""
    profile: Running[tuple[Annotated[int, ">= 0"], PositiveInt] | None] = None
    """(first step, number of steps) of a jax.profiler trace in the workdir; None: no trace."""
    metrics: Running[MetricChoices] = field(default_factory=dict)
    """Metrics to measure beside the task's own, by a name of the user's choice."""
    evals: Running[Mapping[str, EvalConfig]] = field(default_factory=dict)
    """Further evaluations, by a name of the user's choice."""
    log_every: Running[Duration] = "50 steps"
    """The time between rows of training metrics."""
    checkpoint_every: Running[Duration] = "1 epochs"
    """The time between checkpoints."""
    keep_last: Running[PositiveInt] = 2
    """The number of newest checkpoints that are kept, beside the best one."""
    checkpoint_milestones: Running[Duration | None] = None
    """The time between checkpoints that are kept for good, beside those; None: none are."""
    gate: Running[Annotated[str, "gate"]] = ""
    """Conditions of its promotion beside the registry's, as `registry gate` has them; '': none."""
    writers: Running[WriterChoices] = field(default_factory=lambda: {"tensorboard": TENSORBOARD})
    """Where the record is shown too: TensorBoard, MLflow, W&B."""

    def to_dict(self) -> dict[str, Any]:
        """Returns nested dicts with every default written out; `validate_config` reads them."""
        return to_tree(self)

    def to_json(self) -> str:
        """Returns `to_dict` as the text of a record's config.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def computing(self) -> dict[str, Any]:
        """Returns what decides the numbers of a run: `{'optimizer.learning_rate': 0.1, ...}`."""
        return {leaf.name: to_tree(leaf.value) for leaf in walk(self) if leaf.decides_numbers}

    def fingerprint(self) -> str:
        """Hashes `computing()`, whatever the order of its keys: twelve hex digits."""
        return digest_tree(self.computing())


def list_differences(old: Config, new: Config) -> list[str]:
    """Lists the computing keys that differ, a line each: `batch_size: 32 -> 64`."""
    before, after = old.computing(), new.computing()
    return [
        f"{k}: {before.get(k, '(absent)')!r} -> {after.get(k, '(absent)')!r}"
        for k in dict.fromkeys([*before, *after])
        if not means_same(before.get(k, REQUIRED), after.get(k, REQUIRED))
    ]


def find_user_modules(config: Config | dict[str, Any]) -> list[str]:
    """Lists the user's own modules that a config names ('my_pkg.nets:Net'), also in pipelines."""
    tree = config.to_dict() if isinstance(config, Config) else config
    texts = map(str, flatten_dict(tree).values())
    return sorted({m for text in texts for m in re.findall(r"([A-Za-z_][\w.]*):[A-Za-z_]", text)})
