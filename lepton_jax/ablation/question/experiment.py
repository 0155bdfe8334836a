"""An experiment: a question, what varies to answer it, and how the answer is measured.

    def get_experiment() -> Experiment:
        return Experiment(
            question="Does dropout help a small CNN on digits?",
            config="configs/digits_cnn.py",
            variants=one_at_a_time({"dropout 0.1": {"model.dropout": 0.1}}),
            seeds=range(5),
            metric="accuracy",
        )

Nothing is declared about how trials are run: what may share a program follows from the configs.
Imports: numpy only when something is sampled.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lepton_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Changes = Mapping[str, Any]
"""`{'optimizer.learning_rate': 0.1}`: keys of a config, and what they become."""


@dataclass(frozen=True)
class Variant:
    """One of the things compared: a name, and how its config differs from the experiment's."""

    name: str
    changes: Changes = field(default_factory=dict)
    tuning: Changes = field(default_factory=dict)
    """Keys that are no part of the question: of the variants of one name, the tuning that is best
    on `valid` is the one reported."""
    config: str = ""
    """Another config file to start from."""


@dataclass(frozen=True)
class Published:
    """A number to reproduce: its value, how far off one may be, and where it stands."""

    value: float
    tolerance: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question, and what is run to answer it."""

    question: str
    config: str
    """The config that variants change: FILE.py[:ARG]."""
    variants: Sequence[Variant] = ()
    seeds: Sequence[int] = (0, 1, 2)
    metric: str = "accuracy"
    """Selection and tuning see `valid/METRIC`; the report shows `test/METRIC`."""
    mode: Literal["max", "min"] = "max"
    baseline: str = ""
    """The variant that the others are compared with; by default the first."""
    published: Mapping[str, Published] = field(default_factory=dict)
    """Numbers to reproduce, by variant."""
    changes: Changes = field(default_factory=dict)
    """What differs from the config file in every variant."""
    searches: Sequence["Search"] = ()
    """Variants that are looked for."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is compared, in order."""
        variants, searches = (v.name for v in self.variants), (s.name for s in self.searches)
        return tuple(dict.fromkeys((*variants, *searches)))

    @property
    def compared_with(self) -> str:
        return self.baseline or self.names[0]


@dataclass(frozen=True, kw_only=True)
class Search:
    """A variant that is looked for: drawn `trials` times under the first seed, chosen on `valid`,
    and the best then run under every seed.

    With `rungs` a trial goes on beyond these shares of its run only if it is among the best
    1/`reduction` of those that came so far: `rungs=(1/9, 1/3)`, `reduction=3`.
    """

    name: str
    space: Mapping[str, "Distribution"]
    """`{'optimizer.learning_rate': log_uniform(1e-4, 1e-1)}`"""
    trials: int
    changes: Changes = field(default_factory=dict)
    sampler: Literal["random", "tpe"] = "random"
    batch: int = 16
    """Draws at a time: they may run at once, and `tpe` has not seen the results of each other."""
    rungs: tuple[float, ...] = ()
    reduction: int = 3
    brackets: int = 1
    """Of Hyperband: the second one begins at the second rung, and so on."""
    seed: int = 0


@dataclass(frozen=True)
class Distribution:
    """Where a value of `sampled` or of a search comes from."""

    kind: Literal["uniform", "log_uniform", "integer", "choice"]
    low: float = 0.0
    high: float = 1.0
    options: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """Its bounds, or all its options."""
        match self.kind:
            case "choice":
                return self.options
            case "integer":
                return int(self.low), int(self.high)
        return self.low, self.high

    def draw(self, rng: "np.random.Generator") -> Any:
        match self.kind:
            case "uniform":
                return float(rng.uniform(self.low, self.high))
            case "log_uniform":
                import math

                return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            case "integer":
                return int(rng.integers(int(self.low), int(self.high) + 1))
        return self.options[int(rng.integers(len(self.options)))]


def uniform(low: float, high: float) -> Distribution:
    return _ordered(Distribution("uniform", low, high))


def log_uniform(low: float, high: float) -> Distribution:
    """Uniform in the logarithm; both bounds above zero."""
    if low <= 0:
        raise UserError(f"log_uniform({low}, {high}): bounds must be above zero")
    return _ordered(Distribution("log_uniform", low, high))


def integer(low: int, high: int) -> Distribution:
    """Every whole number from `low` to `high`, both included."""
    return _ordered(Distribution("integer", low, high))


def choice(*options: Any) -> Distribution:
    if not options:
        raise UserError("choice() needs at least one option")
    return Distribution("choice", options=options)


def _ordered(found: Distribution) -> Distribution:
    if not found.low <= found.high:
        raise UserError(f"{found.kind}({found.low}, {found.high}): the bounds are the wrong way")
    return found


def named_variants(variants: Mapping[str, Changes]) -> list[Variant]:
    """Variants by name. The change `config` starts from another file: `{'config': 'configs/b.py'}`.

    The list can be added to others: `named_variants({...}) + grid({...})`.
    """
    return [
        Variant(name, {k: v for k, v in c.items() if k != "config"}, config=c.get("config", ""))
        for name, c in variants.items()
    ]


def one_at_a_time(changes: Mapping[str, Changes], baseline: str = "baseline") -> list[Variant]:
    """The unchanged config, named `baseline`, and each change to it alone."""
    return [Variant(baseline), *named_variants(changes)]


def grid(values: Mapping[str, Iterable[Any]]) -> list[Variant]:
    """Every combination: `grid({'model.width': (32, 64), 'batch_size': (32, 128)})`."""
    columns = {key: list(options) for key, options in values.items()}
    return [
        _named(dict(zip(columns, combination, strict=True)))
        for combination in itertools.product(*columns.values())
    ]


def zip_variants(values: Mapping[str, Iterable[Any]]) -> list[Variant]:
    """The first of each, the second of each, and so on."""
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
    """`count` independent draws: `sample_variants(20, {'model.dropout': uniform(0.0, 0.5)})`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return [_named({key: d.draw(rng) for key, d in space.items()}) for _ in range(count)]


def cross_variants(a: Iterable[Variant], b: Iterable[Variant]) -> list[Variant]:
    """Each of `a` with each of `b`."""
    return [
        Variant(
            f"{x.name}, {y.name}", {**x.changes, **y.changes}, {**x.tuning, **y.tuning},
            y.config or x.config,
        )
        for x, y in itertools.product(a, list(b))
    ]  # fmt: skip


def tune_variants(
    variants: Iterable[Variant], values: Mapping[str, Iterable[Any]]
) -> list[Variant]:
    """Each variant at every combination of `values`, of which the best on `valid` is reported."""
    tunings = [v.changes for v in grid(values)]
    return [
        Variant(v.name, v.changes, {**v.tuning, **tuning}, v.config)
        for v in variants
        for tuning in tunings
    ]


def _named(changes: Changes) -> Variant:
    return Variant(describe_changes(changes), changes)


def describe_changes(changes: Changes) -> str:
    """`learning_rate=0.1, width=64`: each key by the shortest end of its path that is its own."""
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
    """A value as names and tables show it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
