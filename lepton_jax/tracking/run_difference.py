"""What differs between two runs: their configs, their results, and where they came from."""

import itertools
import json
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.config.schema import means_same
from lepton_jax.console import cut_text, format_table, terminal_width
from lepton_jax.io import files
from lepton_jax.tables import Table, TableFormat, csv_text, is_number, latex_text, markdown_text
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.run_table import format_cell
from lepton_jax.trees import flatten_dict

ORIGIN = ("python", "platform", "processor", "visible_cpus", "data_fingerprint")
"""What is compared of a provenance as it stands there."""
NESTED = ("devices", "placement", "variables", "packages", "components")
"""What is compared of it by name."""

SAME = 1e-5
"""Two best values that are as near, relative to the larger one, make neither run the better one."""


@dataclass(frozen=True)
class DifferentValue:
    """A value that two runs have in common by name only; None where one lacks it."""

    name: str
    first: Any
    second: Any

    @property
    def difference(self) -> float | None:
        """The second number less the first; None where one of the values is no number."""
        both = is_number(self.first) and is_number(self.second)
        return self.second - self.first if both else None


@dataclass(frozen=True)
class BetterRun:
    """Which of two runs is better by the metric that both choose their best step by."""

    metric: str
    better: str | None
    """The workdir of the better one; None where their values are the same to five digits."""
    by: float
    """How much better it is, >= 0."""

    def __str__(self) -> str:
        head = f"by best.metric ({self.metric}):"
        if self.better is None:
            return f"{head} the two are the same to five digits"
        return f"{head} {self.better} is better by {self.by:.4g}; one seed says nothing of chance"


@dataclass(frozen=True)
class RunDifference:
    """What differs between two runs."""

    first: str
    second: str
    config: tuple[DifferentValue, ...]
    """The keys of config.json that differ."""
    results: tuple[DifferentValue, ...]
    """Every number that was measured at the end, whether it differs or not."""
    provenance: tuple[DifferentValue, ...]
    """Code, packages, data and machine, as far as they differ."""
    better: BetterRun | None = None
    """None where the two have no metric in common that says it."""
    format: TableFormat = "table"

    def as_json(self) -> dict[str, Any]:
        """Returns the values side by side, and the differences of numbers."""
        parts = {
            part: [
                {"name": v.name, "first": v.first, "second": v.second}
                | ({"difference": v.difference} if part == "results" else {})
                for v in values
            ]
            for part, values in self._parts().items()
        }
        better = None if self.better is None else asdict(self.better)
        return files.replace_non_finite(
            {"first": self.first, "second": self.second, **parts, "better": better}
        )

    def __str__(self) -> str:
        better = self.last_line() if self.format == "table" else ""
        return f"{self.tables()}\n\n{better}" if better else self.tables()

    __repr__ = __str__

    def tables(self) -> str:
        """Formats the parts, without the line that says which run is better."""
        if self.format == "json":
            return json.dumps(self.as_json(), indent=2)
        if self.format in ("csv", "markdown", "latex"):
            table = Table("difference", "Difference", [*self._rows()])
            texts = {"csv": csv_text, "markdown": markdown_text, "latex": latex_text}
            return texts[self.format](table).rstrip("\n")
        width, lines = terminal_width(), list[str]()
        names = _leave_out_common(self.first, self.second) if width else [self.first, self.second]
        for part, values in self._parts().items():
            lines += [""] if lines else []
            if not values:
                lines.append(f"{part}: {'none' if part == 'results' else 'the same'}")
                continue
            numbers = part == "results"
            heads = [part, *names, *(["difference"] if numbers else [])]
            cells = [heads, *(_cells(v, numbers) for v in values)]
            if width is not None:
                cells = _fit_cells(cells, width)
            lines += format_table(cells, right={1, 2, 3} if numbers else ())
        return "\n".join(lines)

    def last_line(self) -> str:
        """Says which run is better, for the width of the terminal; '' where nothing says it."""
        width, said = terminal_width(), str(self.better or "")
        return textwrap.fill(said, width) if width else said

    def _parts(self) -> dict[str, tuple[DifferentValue, ...]]:
        return {"config": self.config, "results": self.results, "provenance": self.provenance}

    def _rows(self) -> Iterator[dict[str, Any]]:
        for part, values in self._parts().items():
            for v in values:
                row = {"part": part, "name": v.name, self.first: v.first, self.second: v.second}
                yield row | {"difference": v.difference if part == "results" else None}


def compare_runs(first: str, second: str, *, format: TableFormat = "table") -> RunDifference:
    """Compares the records in two workdirs.

    Raises:
      UserError: when one of them holds no run.
      WorkError: when a file of a record is damaged.
    """
    a, b = Record.open(first), Record.open(second)
    return RunDifference(
        first,
        second,
        _different(flatten_dict(a.config()), flatten_dict(b.config())),
        _side_by_side(_numbers(a), _numbers(b)),
        _different(_origin(a), _origin(b)),
        _find_better(a, b),
        format,
    )


def _find_better(a: Record, b: Record) -> BetterRun | None:
    """Finds the better of two runs; None where they do not choose their best step by one metric."""
    chosen, other = (record.config().get("best") or {} for record in (a, b))
    first, second = _best_value(a), _best_value(b)
    if chosen != other or first is None or second is None:
        return None
    lead = sign_of(chosen.get("mode", "max")) * (first - second)
    same = math.isclose(first, second, rel_tol=SAME)
    better = a.workdir if lead > 0 else b.workdir
    return BetterRun(chosen["metric"], None if same else better, abs(lead))


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[DifferentValue, ...]:
    rows = _side_by_side(a, b)
    return tuple(row for row in rows if not means_same(row.first, row.second))


def _side_by_side(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[DifferentValue, ...]:
    return tuple(DifferentValue(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]))


def _numbers(record: Record) -> dict[str, Any]:
    """Returns the last step, the best value on the way, and every result that is a number."""
    rows, results = record.rows(), record.results()
    numbers: dict[str, Any] = {"step": rows[-1]["step"] if rows else None}
    if (best := _best_value(record)) is not None:
        numbers[f"best {record.config()['best']['metric']}"] = best
    for split, measured in results.items():
        if split != "checkpoint":
            numbers |= {
                f"{split}/{k}": v for k, v in measured.items() if is_number(v) and k != "step"
            }
    return numbers


def _best_value(record: Record) -> float | None:
    """Returns the best value on the way of the metric that `config.best` names."""
    best = record.config().get("best") or {}
    values = [row[best["metric"]] for row in record.rows() if best.get("metric") in row]
    sign = sign_of(best.get("mode", "max"))
    return max(filter(math.isfinite, values), key=lambda value: sign * value, default=None)


def _origin(record: Record) -> dict[str, Any]:
    """Returns what of a provenance can change numbers, by name.

    Where the starts of a run differ in it, all of its values: `1 -> 8`.
    """
    starts = [_origin_of_start(start) for start in record.starts()]
    origin: dict[str, Any] = {}
    for name in dict.fromkeys(name for start in starts for name in start):
        values = [value for value, _ in itertools.groupby(start.get(name) for start in starts)]
        said = " -> ".join(format_cell("", value) for value in values)
        origin[name] = values[0] if len(values) == 1 else said
    configs = dict.fromkeys(str(start.get("fingerprint")) for start in record.starts())
    if len(configs) > 1:  # trained longer: config.json has the last one
        origin["config, by fingerprint"] = " -> ".join(configs)
    return origin


def _origin_of_start(said: Mapping[str, Any]) -> dict[str, Any]:
    origin: dict[str, Any] = {}
    for name in ("code", "harness_code"):
        state = said.get(name) or {}
        origin |= {name: state.get("commit"), f"{name}, uncommitted": state.get("diff_sha256")}
    origin |= {name: said.get(name) for name in ORIGIN}
    for name in NESTED:
        origin |= {f"{name}.{k}": v for k, v in flatten_dict(said.get(name) or {}).items()}
    return origin


def _leave_out_common(first: str, second: str) -> list[str]:
    """Returns two paths from the last folder that holds both: of `runs/a`, `runs/b` a and b."""
    a, b = first.split("/"), second.split("/")
    shared = 0
    while shared < min(len(a), len(b)) - 1 and a[shared] == b[shared]:
        shared += 1
    return ["/".join(a[shared:]), "/".join(b[shared:])]


def _fit_cells(cells: list[list[str]], width: int) -> list[list[str]]:
    """Cuts the two columns of values to equal shares of a terminal, and the names to what is left.

    The differences stay whole.
    """
    most = max(8, (width - 6) // len(cells[0]))
    cells = [[row[0], *(cut_text(c, most) for c in row[1:3]), *row[3:]] for row in cells]
    used = sum(2 + max(map(len, column)) for column in list(zip(*cells, strict=True))[1:])
    return [[cut_text(row[0], max(8, width - used)), *row[1:]] for row in cells]


def _cells(value: DifferentValue, numbers: bool) -> list[str]:
    cells = [value.name, format_cell("", value.first), format_cell("", value.second)]
    difference = value.difference
    shown = "" if difference is None else f"{difference:+.4g}"
    return [*cells, shown] if numbers else cells
