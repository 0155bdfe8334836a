"""Lists the runs below a folder: filtered, sorted and compared in a table."""

import operator
import os
import time
from calendar import timegm
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite, isnan
from typing import Any

from lepton_jax.config.conditions import COMPARISONS, mend_condition, split_condition
from lepton_jax.config.schema import means_same
from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError, did_you_mean
from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.nearest import find_nearest
from lepton_jax.tables import TableFormat
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.chain import text_digest
from lepton_jax.tracking.claim import read_owner
from lepton_jax.tracking.experiment_folder import is_experiment
from lepton_jax.tracking.record import NEEDED, Record
from lepton_jax.tracking.run_table import Runs
from lepton_jax.tracking.tags import read_tags
from lepton_jax.trees import flatten_dict

_SKIPPED = {"checkpoints", "tensorboard", "wandb", "__pycache__"}


def list_runs(
    folder: Path,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    *,
    sort: str | None = None,
    format: TableFormat = "table",
) -> Runs:
    """Lists the records at or below a folder; folders that hold none are passed by.

    Args:
      where: conditions that must all hold, 'optimizer.name=adam,test/accuracy>0.98'. Names are
        columns, config keys ('optimizer.name'), or metrics ('valid/loss': the result if the split
        was evaluated at the end, else the last one logged).
        'tag=NAME' holds for a run that has that tag.
      columns: names to show instead of the usual ones.
      sort: a name; with '-' in front the largest comes first. Runs that lack it come last.
      format: in what `str()` of the table writes it.

    `state` is running, finished, stopped, failed, lost (killed), or unreadable. `best` is the best
    value of the metric that the run's config names, and `best.metric` is its name.

    Raises:
      UserError: when the folder is absent, or a condition cannot be read or names nothing.
    """
    if not files.is_dir(folder):
        nearest = files.find_nearest_path(folder)
        raise UserError(
            f"{folder} is not a folder{files.name_nearest(folder)}",
            instead=(str(folder), nearest) if nearest else None,
        )
    conditions = _conditions(where or "")
    runs = [_facts(path, name) for path, name in find_records(str(folder), "")]
    names, below = {name for run in runs for name in run} - {"config keys"}, len(runs)
    names |= {*_usual(runs)}  # `step`, also where no run has taken one
    for name, compare, value in conditions:
        name = "tags" if name == "tag" else name
        _check(name, names, runs, where or "")
        runs = [r for r in runs if _holds(compare, r.get(name), value)]
    if sort:
        name, descending = sort.removeprefix("-"), sort.startswith("-")
        _check(name, names, runs, sort)
        runs = _sorted(runs, name, descending)
    if columns:
        for name in columns:
            _check(name, names, runs, ",".join(columns))
    usual = tuple(columns or _usual(runs))
    keys = () if columns else [k for k in _differing_keys(runs) if k not in usual]
    rows = [{c: run.get(c) for c in (*usual, *keys)} for run in runs]
    shown = runs if where else _group_trials(runs)
    return Runs(str(folder), usual, rows, below, shown, asked=bool(columns), format=format)


def _group_trials(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Puts one row in the place of an experiment's trials: that of the best one."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run.get("experiment") or run["name"], []).append(run)
    rows: list[Mapping[str, Any]] = []
    for name, trials in groups.items():
        if trials[0].get("experiment") is None:
            rows += trials
            continue
        measured = [t for t in trials if "best" in t] or trials
        best = max(measured, key=lambda t: sign_of(t.get("best.mode", "max")) * t.get("best", 0.0))
        states = Counter(t["state"] for t in trials)
        state = ", ".join(f"{count} {state}" for state, count in states.items())
        rows.append({**best, "name": f"{name}, best of {len(trials)} trials", "state": state})
    return rows


def _usual(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    tests = dict.fromkeys(n for run in runs for n in run if n.startswith("test/"))
    losses = ["train/loss"] if any("train/loss" in run for run in runs) else []
    best = ["best", "best.metric"] if any("best" in run for run in runs) else []
    tags = ["tags"] if any(run.get("tags") for run in runs) else []
    start = ["name", "state", *tags, "step"]
    return [*start, *losses, *best, *tests, "fingerprint", "commit", "age"]


def _differing_keys(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lists the config keys in which runs differ; a run that cannot be read has none."""
    read = [run for run in runs if "config keys" in run]
    names = dict.fromkeys(name for run in read for name in run if name in run["config keys"])
    return [
        name
        for name in names
        if any(not means_same(run.get(name), read[0].get(name)) for run in read[1:])
    ]


def find_records(folder: str, name: str) -> Iterator[tuple[str, str]]:
    """Yields the path and the name below the start of each record, in the order of the names."""
    if Record.exists(folder) or _is_part(folder):
        yield folder, name or folder.rstrip("/").rpartition("/")[2]
        return
    for child in files.list_folder(folder):
        path = files.join_path(folder, child)
        if child not in _SKIPPED and not child.startswith(".") and files.is_dir(path):
            yield from find_records(path, f"{name}/{child}" if name else child)


def _is_part(folder: str) -> bool:
    """Tells whether a folder holds a record of which config.json or provenance.json is gone."""
    return files.exists(files.join_path(folder, "metrics.jsonl")) and any(
        files.exists(files.join_path(folder, name)) for name in NEEDED
    )


def _facts(workdir: str, name: str) -> dict[str, Any]:
    """Reads all that a run can be asked for, by name."""
    try:
        record = Record.open(workdir)
        facts: dict[str, Any] = flatten_dict(record.config())
        keys = frozenset(facts)
        starts, results, rows = record.starts(), record.results(), record.rows()
        provenance, digests = starts[0], {start.get("config") for start in starts}
        if None not in digests and text_digest(record.config_text()) not in digests:
            say(f"{name}: config.json was edited after the run began")
        for row in rows:
            facts |= row
        for split, values in results.items():
            facts |= {f"{split}/{k}": v for k, v in values.items() if isinstance(v, int | float)}
        metric = facts.get("best.metric")
        values = [row[metric] for row in rows if metric in row and isfinite(row[metric])]
        if values:  # of all steps, whether they were kept as a checkpoint or not
            sign = sign_of(facts.get("best.mode", "max"))
            facts["best"] = max(values, key=lambda value: sign * value)
        code = provenance.get("code") or {}
        facts |= {
            "fingerprint": provenance.get("fingerprint"),
            "commit": (code.get("commit") or "")[:8] + ("+" if code.get("diff") else ""),
            "age": _age(provenance.get("time")),
        }
        facts |= {"tags": [*read_tags(workdir)], "config keys": keys}
        experiment = name.rpartition("/trials/")[0]
        if experiment and experiment_of(workdir):
            facts["experiment"] = experiment
        return facts | {"name": name, "state": _state(record)}
    except (WorkError, UserError, ValueError, TypeError, AttributeError) as e:
        say(f"{name}: {e}")
        return {"name": name, "state": "unreadable"}


def experiment_of(workdir: str) -> str | None:
    """Returns the folder of the experiment that a run is a trial of; None where it is none."""
    folder, name = os.path.split(os.path.dirname(workdir.rstrip("/")))
    folder = folder or "."
    return folder if name == "trials" and is_experiment(folder) else None


def _state(record: Record) -> str:
    owner = read_owner(record.workdir)
    if owner is not None and owner.lives():
        return "running"
    return record.status().get("state", "lost")


def _conditions(where: str) -> list[tuple[str, Callable[[Any, Any], bool], str]]:
    conditions = []
    for text in filter(str.strip, where.split(",")):
        try:
            name, sign, value = split_condition(text)
        except ValueError:
            mended = mend_condition(text)
            raise UserError(
                f"--where: cannot read {text.strip()!r}; expected NAME=VALUE, or one of "
                f"{' '.join(COMPARISONS)} between them, as in test/accuracy>0.98",
                instead=(where, where.replace(text, mended)) if mended else None,
            ) from None
        if sign not in ("=", "!=") and not _is_number(value):
            raise UserError(f"--where: {text.strip()!r}: expected a number, got {value!r}")
        conditions.append((name, COMPARISONS[sign], value))
    return conditions


def _is_number(text: str) -> bool:
    try:
        return not isnan(float(text))
    except ValueError:
        return False


def _check(name: str, names: set[str], runs: Sequence[object], given: str) -> None:
    """Raises `UserError` for a name that no run has. `given`: the flag's value that names it."""
    if runs and name not in names:
        near = find_nearest(name, names)
        raise UserError(
            f"no run has {name!r}{did_you_mean(name, names)}",
            instead=(given, given.replace(name, near)) if near else None,
        )


def _holds(compare: Callable[[Any, Any], bool], have: Any, wanted: str) -> bool:
    """Compares as numbers where both are, as text where equality is asked for."""
    if have is None and wanted != "None":
        return False
    if isinstance(have, list) and compare in (operator.eq, operator.ne):  # tags
        return (wanted in have) == (compare is operator.eq)
    if isinstance(have, int | float) and not isinstance(have, bool):
        try:
            return compare(have, float(wanted))
        except ValueError:
            return compare is operator.ne
    if compare in (operator.eq, operator.ne):
        return compare(str(have), wanted)
    return False


def _sorted(runs: list[dict[str, Any]], name: str, descending: bool) -> list[dict[str, Any]]:
    have = [r for r in runs if r.get(name) is not None]
    lack = [r for r in runs if r.get(name) is None]

    def key(run: dict[str, Any]) -> tuple[bool, Any]:
        text = isinstance(run[name], str)
        return text, run[name] if text or isinstance(run[name], int | float) else str(run[name])

    return sorted(have, key=key, reverse=descending) + lack


def _age(started: Any) -> float | None:
    """Returns the seconds since a run was started; None where the record does not say it."""
    try:
        return round(time.time() - timegm(time.strptime(started, "%Y-%m-%dT%H:%M:%SZ")))
    except (TypeError, ValueError):
        return None
