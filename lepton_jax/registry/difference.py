"""What differs between two versions: what they state, how well they answer, and what."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_jax.config.gate_text import ACCURACY
from lepton_jax.console import format_command, format_table
from lepton_jax.evaluation.changed import ChangedExample, find_changed
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.gate.measures import measure_accuracy, measure_difference
from lepton_jax.registry.gate.population import Population
from lepton_jax.registry.store import Registry
from lepton_jax.serving import loader
from lepton_jax.trees import flatten_dict

LISTED = 10
"""Examples that are listed, at most."""

_SECTIONS = ("lineage.config.", "lineage.data", "lineage.code", "lineage.", "metrics.", "file ")
"""The order in which statements are shown, by their first letters."""


@dataclass(frozen=True)
class VersionDifference:
    """What differs between two versions."""

    first: str
    second: str
    rows: tuple[tuple[str, Any, Any], ...]
    """What they state: `(what, in the first, in the second)`."""
    measured: Mapping[str, tuple[float, float, float]]
    """The accuracy of each, and the difference: the number, and the ends of its interval."""
    changed: tuple[ChangedExample, ...]
    """The examples that are answered otherwise; those that were right or become right first."""
    drawn: str = ""
    """Where these are drawn."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        # Lists, such as a confusion matrix, are no rows of a table.
        rows = [
            (k.removeprefix("lineage."), *(_shorten(v) for v in values))
            for k, *values in self.rows
            if not any(isinstance(v, list) for v in values)
        ]
        lines = format_table([("", self.first, self.second), *rows]) if rows else []
        same = [] if self.rows else [f"{self.first} and {self.second} are the same bundle"]
        measured = [
            f"{name}: {value:.4g}, 95 % interval {low:.4g} to {high:.4g}"
            for name, (value, low, high) in self.measured.items()
        ]
        model = self.second.partition("/")[0]
        following = format_command("registry history", model=model)
        return "\n".join([*lines, *same, *measured, *self._changes(), f"next: {following}"])

    def _changes(self) -> list[str]:
        if not self.changed:
            return []
        better = sum(c.second == c.label for c in self.changed)
        worse = sum(c.first == c.label for c in self.changed)
        lines = [
            f"{len(self.changed)} examples are answered otherwise: {better} became right, {worse} "
            f"became wrong, {len(self.changed) - better - worse} stay wrong"
        ]
        lines += [f"  {c}" for c in self.changed[:LISTED]]
        if len(self.changed) > LISTED:
            lines.append(f"  ... and {len(self.changed) - LISTED} more")
        return lines + ([f"They are drawn in {self.drawn}"] if self.drawn else [])


def diff_versions(first: str, second: str) -> VersionDifference:
    """Compares two versions: what they state, their accuracy, and their answers to each example.

    Args:
      first, second: references such as 'NAME/1' and 'NAME@staging'.

    Raises:
      UserError: when there is no such version.
      WorkError: when the registry's copy of one is damaged.
    """
    registry = Registry()
    versions = [registry.resolve(reference) for reference in (first, second)]
    a, b = (Evidence(registry.fetch(v), v.name) for v in versions)
    stated, others = _statements(a.folder), _statements(b.folder)
    rows = tuple(
        (key, stated.get(key), others.get(key))
        for key in sorted(stated.keys() | others.keys(), key=_in_sections)
        if stated.get(key) != others.get(key)
    )
    measured: dict[str, tuple[float, float, float]] = {}
    changed: tuple[ChangedExample, ...] = ()
    same = a.answered and b.answered and a.answered.data == b.answered.data
    for side in {a.name: a, b.name: b}.values():
        if side.answered is not None:
            measured[f"{ACCURACY} of {side.name}"] = _measure(measure_accuracy(side.answered))
    if a.answered is not None and b.answered is not None and same and a.id != b.id:
        population = measure_difference(b.answered, a.answered)
        measured[f"difference of {ACCURACY}"] = _measure(population)
        changed = find_changed(a.answered, b.answered, a.classes)
    return VersionDifference(a.name, b.name, rows, measured, changed)


def fetch_version(reference: str) -> Path:
    """Returns the folder with the bundle of 'NAME/1' or 'NAME@staging'."""
    registry = Registry()
    return registry.fetch(registry.resolve(reference))


def _statements(folder: Path) -> dict[str, Any]:
    statements: dict[str, Any] = {}
    for name in ("lineage", "metrics", "signature"):
        statements |= flatten_dict({name: loader.read_object(folder, f"{name}.json")})
    manifest = loader.read_object(folder, loader.MANIFEST)
    digests = {f"file {f['path']}": f["sha256"][:12] for f in manifest["files"]}
    # The JSON files are compared above, statement by statement.
    compared = statements | {k: v for k, v in digests.items() if not k.endswith(".json")}
    return {k: v for k, v in compared.items() if v != {}}


def _in_sections(key: str) -> tuple[int, str]:
    places = (i for i, start in enumerate(_SECTIONS) if key.startswith(start))
    return next(places, len(_SECTIONS)), key


def _measure(population: Population) -> tuple[float, float, float]:
    return population.value(), *population.interval()


def _shorten(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
