"""Golden files: how they are read, written, and compared with what a tree gives now."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MOST = 40
"""Lines of difference that a message shows."""


def golden(name: str) -> Any:
    """Reads a golden file by its name: 'configs'."""
    return json.loads((HERE / f"{name}.json").read_bytes())


def write(name: str, value: Mapping[str, Any]) -> None:
    """Writes a golden file: an entry a line, keys sorted, so that a diff shows the entries."""
    lines = [f"{json.dumps(k)}: {json.dumps(value[k], sort_keys=True)}" for k in sorted(value)]
    (HERE / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def assert_golden(was: Any, now: Any, name: str) -> None:
    """Fails with a line for each difference between a golden value and that of this tree."""
    found = list(differences(was, json.loads(json.dumps(now))))
    more = [f"... and {len(found) - MOST} more"] if len(found) > MOST else []
    cure = f"if that is meant: python -m tests.golden.make {name}, and say why in the commit"
    assert not found, "\n".join([f"{name}.json differs; {cure}", *found[:MOST], *more])


def differences(was: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yields a line for each place where two JSON values differ, with the path to it."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            where = f"{path} > {key}" if path else key
            if key not in now:
                yield f"{where}: is gone, was {_shortened(was[key])}"
            elif key not in was:
                yield f"{where}: is new, {_shortened(now[key])}"
            else:
                yield from differences(was[key], now[key], where)
    elif was == now and type(was) is type(now):
        return
    elif isinstance(was, str) and isinstance(now, str) and "\n" in was:
        before, after = was.splitlines(keepends=True), now.splitlines(keepends=True)
        changed = list(difflib.unified_diff(before, after, n=0))[2:]
        yield from (f"{path}: {line!r}" for line in changed)
    else:
        yield f"{path}: was {_shortened(was)}, is {_shortened(now)}"


def _shortened(value: Any) -> str:
    """Returns a value as JSON, of which a long one shows its beginning."""
    text = json.dumps(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
