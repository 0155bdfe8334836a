"""An experiment: a question, what varies to answer it, and how the answer is measured.

    def get_experiment() -> Experiment:
        return Experiment(
            question="Does dropout help a small CNN on digits?",
            config="configs/digits_cnn.py",
            variants=one_at_a_time({"dropout 0.1": {"model.dropout": 0.1}}),
            seeds=range(5),
            metric="accuracy",
        )

Nothing is declared about how trials are run: which of them may share a compiled program follows
from their configs. Imports numpy only when something is sampled.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lepton_jax.config.plain import to_plain
from lepton_jax.config.schema import Seed, coerce_value
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Changes = Mapping[str, Any]
"""`{'optimizer.learning_rate': 0.1}`: keys of a config, and what they become."""


@dataclass(frozen=True)
class Variant:
    """One of the things compared: a name, and what its config changes."""

    name: str
    changes: Changes = field(default_factory=dict)
    tuning: Changes = field(default_factory=dict)
    """Changed keys that are no part of the question. Of several variants with one name, the report
    shows the one whose tuning is best on `valid`."""
    config: Any = ""
    """Another config to start from, in any form that `Experiment.config` has."""


@dataclass(frozen=True)
class Published:
    """A number to reproduce, with its source."""

    value: float
    tolerance: float
    """A mean that is at most so far from `value` reproduces it."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question, and what is run to answer it."""

    question: str
    config: Any
    """The config that the variants change: FILE.py[:ARG], a ConfigDict, a dict or a `Config`."""
    variants: Sequence[Variant] = ()
    seeds: Sequence[int] = (0, 1, 2)
    metric: str = "accuracy"
    """Selection and tuning go by `valid/METRIC`; the report shows `test/METRIC`."""
    mode: Literal["max", "min"] = "max"
    baseline: str = ""
    """The variant that the others are compared with; by default the first."""
    published: Mapping[str, Published] = field(default_factory=dict)
    """Numbers to reproduce, by variant."""
    changes: Changes = field(default_factory=dict)
    """What every variant changes in the config file."""
    searches: Sequence["Search"] = ()
    """Variants whose best values a hyperparameter search finds."""
    folds: int = 0
    """Cross-validation: every variant and seed is trained once for each of so many folds, and the
    report shows the mean over folds; 0: 'test' is that of the config."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variants and searches that are compared, in order."""
        variants, searches = (v.name for v in self.variants), (s.name for s in self.searches)
        return tuple(dict.fromkeys((*variants, *searches)))

    @property
    def compared_with(self) -> str:
        """The name of the baseline."""
        return self.baseline or self.names[0]


@dataclass(frozen=True, kw_only=True)
class Search:
    """A hyperparameter search, whose best draw is compared as one variant.

    `trials` draws run under the first seed; the best of them on `valid` then runs under every seed.
    With `rungs` (successive halving) a draw goes on beyond each of these shares of its run only if
    it is among the best 1/`reduction` of the draws that came so far: `rungs=(1/9, 1/3)`,
    `reduction=3`.
    """

    name: str
    space: Mapping[str, "Distribution"]
    """`{'optimizer.learning_rate': log_uniform(1e-4, 1e-1)}`"""
    trials: int
    changes: Changes = field(default_factory=dict)
    sampler: Literal["random", "tpe"] = "random"
    batch: int = 16
    """Draws at a time. They may run at once; none of them is drawn with the results of another."""
    rungs: tuple[float, ...] = ()
    reduction: int = 3
    brackets: int = 1
    """Brackets of Hyperband: the draws of the second begin at the second rung, and so on."""
    seed: int = 0


@dataclass(frozen=True)
class Distribution:
    """A probability distribution from which a search or `sample_variants` draws a value."""

    kind: Literal["uniform", "log_uniform", "integer", "choice"]
    low: float = 0.0
    high: float = 1.0
    options: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """The bounds, or all options of a choice."""
        match self.kind:
            case "choice":
                return self.options
            case "integer":
                return int(self.low), int(self.high)
        return self.low, self.high

    def draw(self, rng: "np.random.Generator") -> Any:
        """Draws one value."""
        match self.kind:
            case "uniform":
                return float(rng.uniform(self.low, self.high))
            case "log_uniform":
                return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            case "integer":
                return int(rng.integers(int(self.low), int(self.high) + 1))
        return self.options[int(rng.integers(len(self.options)))]


def uniform(low: float, high: float) -> Distribution:
    """Makes the uniform distribution between two bounds."""
    return _check_order(Distribution("uniform", low, high))


def log_uniform(low: float, high: float) -> Distribution:
    """Makes the log-uniform distribution between two bounds above zero."""
    if low <= 0:
        raise UserError(f"log_uniform({low}, {high}): bounds must be above zero")
    return _check_order(Distribution("log_uniform", low, high))


def integer(low: int, high: int) -> Distribution:
    """Makes the uniform distribution of the integers from `low` to `high`, both included."""
    return _check_order(Distribution("integer", low, high))


def choice(*options: Any) -> Distribution:
    """Makes the uniform distribution of some values, which may be of any type."""
    if not options:
        raise UserError("choice() needs at least one option")
    return Distribution("choice", options=options)


def _check_order(distribution: Distribution) -> Distribution:
    kind, low, high = distribution.kind, distribution.low, distribution.high
    if not -math.inf < low <= high < math.inf:
        raise UserError(f"{kind}({low}, {high}): expected finite bounds, low <= high")
    if kind == "integer" and not low == int(low) <= int(high) == high:
        raise UserError(f"integer({low}, {high}): expected whole numbers")
    return distribution


def named_variants(variants: Mapping[str, Changes]) -> list[Variant]:
    """Makes a variant of each name. The change `config` starts from another config file:
    `{'config': 'configs/b.py'}`.

    Lists of variants can be added: `named_variants({...}) + grid({...})`.
    """
    return [
        Variant(name, {k: v for k, v in c.items() if k != "config"}, config=c.get("config", ""))
        for name, c in variants.items()
    ]


def one_at_a_time(changes: Mapping[str, Changes], baseline: str = "baseline") -> list[Variant]:
    """Makes a variant of the unchanged config, named `baseline`, and one of each change alone."""
    return [Variant(baseline), *named_variants(changes)]


def grid(values: Mapping[str, Iterable[Any]]) -> list[Variant]:
    """Makes a variant of every combination of values:
    `grid({'model.width': (32, 64), 'batch_size': (32, 128)})`.
    """
    columns = {key: list(options) for key, options in values.items()}
    return [
        _named(dict(zip(columns, combination, strict=True)))
        for combination in itertools.product(*columns.values())
    ]


def zip_variants(values: Mapping[str, Iterable[Any]]) -> list[Variant]:
    """Makes a variant of the first value of every key, one of the second values, and so on."""
    columns = {key: list(options) for key, options in values.items()}
    lengths = {key: len(options) for key, options in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(f"zip_variants(): the lists differ in length: {lengths}")
    return [
        _named(dict(zip(columns, combination, strict=True)))
        for combination in zip(*columns.values(), strict=True)
    ]


def sample_variants(
    count: int, space: Mapping[str, Distribution], *, seed: int = 0
) -> list[Variant]:
    """Makes `count` variants of independent draws:
    `sample_variants(20, {'model.dropout': uniform(0.0, 0.5)})`.
    """
    import numpy as np

    try:
        rng = np.random.default_rng(coerce_value(to_plain(seed), Seed))
    except ValueError as e:
        raise UserError(f"sample_variants(seed={seed!r}): {e}") from None
    return [_named({key: d.draw(rng) for key, d in space.items()}) for _ in range(count)]


def cross_variants(a: Iterable[Variant], b: Iterable[Variant]) -> list[Variant]:
    """Makes a variant of each of `a` with each of `b`; where both change a key, `b` wins."""
    return [
        Variant(
            f"{x.name}, {y.name}", {**x.changes, **y.changes}, {**x.tuning, **y.tuning},
            x.config if y.config == "" else y.config,
        )
        for x, y in itertools.product(a, list(b))
    ]  # fmt: skip


def tune_variants(
    variants: Iterable[Variant], values: Mapping[str, Iterable[Any]]
) -> list[Variant]:
    """Makes each variant at every combination of `values`; the report shows the best on `valid`."""
    tunings = [v.changes for v in grid(values)]
    return [
        Variant(v.name, v.changes, {**v.tuning, **tuning}, v.config)
        for v in variants
        for tuning in tunings
    ]


def _named(changes: Changes) -> Variant:
    return Variant(describe_changes(changes), changes)


def describe_changes(changes: Changes) -> str:
    """Names changes by their keys and values: `learning_rate=0.1, width=64`.

    A key is shortened to the last parts of its path, as long as no other key ends alike.
    """
    return ", ".join(
        f"{_short(key, changes)}={format_value(value)}" for key, value in changes.items()
    )


def _short(key: str, among: Iterable[str]) -> str:
    parts = key.split(".")
    for length in range(1, len(parts)):
        end = ".".join(parts[-length:])
        if sum(k == end or k.endswith("." + end) for k in among) == 1:
            return end
    return key


def format_value(value: Any) -> str:
    """Formats a value as names and tables show it: floats to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
