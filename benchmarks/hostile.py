"""What strangers might send, and what becomes of it.

    python -m benchmarks.hostile    # makes docs/results/hostile.json, prints its tables

1,000 mutated bundles and archives are judged by a receiver who trusts one key, and 200 altered or
forged records and statements of a bundle's making by whoever checks them. They are judged in
processes of 100, so that one that crashed the process would be counted.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parent.parent / "docs/results/hostile.json"
CHUNK = 100


def main() -> None:
    if len(sys.argv) == 5:
        what, first, last, folder = sys.argv[1:]
        judge(what, range(int(first), int(last)), Path(folder))
        return
    tables = {"bundles": make_table("bundles", 1_000), "records": make_table("records", 200)}
    ROWS.write_text(json.dumps(tables, indent=1) + "\n")
    for name, table in tables.items():
        print(f"{name}: {table['judged']} judged, {table['accepted']} accepted, "
              f"{table['crashed']} crashed, {table['wrote outside']} wrote outside, "
              f"{table['seconds']} s of CPU, {table['read without key or id'] or ''}")  # fmt: skip
        for row in table["kinds"]:
            print(f"  {row['kind']:<32} {row['count']:>4}  {row['refused by']}")


def make_table(what: str, count: int) -> dict[str, Any]:
    """Judges `count` of 'bundles' or 'records' in processes of their own."""
    rows: list[dict[str, Any]] = []
    crashed, began = 0, used_seconds()
    with tempfile.TemporaryDirectory() as folder:
        prepare(what, Path(folder))
        for first in range(0, count, CHUNK):
            words = [what, str(first), str(first + CHUNK), folder]
            ran = subprocess.run(
                [sys.executable, "-m", "benchmarks.hostile", *words],
                stdout=subprocess.PIPE, text=True, check=False,
                env={**os.environ, "LEPTON_JAX_TRUST": f"{folder}/trusted_keys.json"},
            )  # fmt: skip
            crashed += ran.returncode != 0
            rows += [json.loads(line) for line in ran.stdout.splitlines() if line[:1] == "{"]
    kinds = []
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        by = dict(Counter(row["refused"] or "ACCEPTED" for row in own).most_common())
        said = [text for text, _ in Counter(row["said"] for row in own).most_common(3)]
        kinds.append({"kind": kind, "count": len(own), "refused by": by, "said": said})
    return {
        "judged": len(rows),
        "accepted": sum(not row["refused"] for row in rows),
        "crashed": crashed,
        "wrote outside": sum(row["moved"] for row in rows),
        "seconds": round(used_seconds() - began),
        "read without key or id": dict(Counter(r["opened"] for r in rows if r.get("opened"))),
        "kinds": kinds,
    }


def used_seconds() -> float:
    """Returns the processor seconds of this process and of those that it has started."""
    return sum(os.times()[:4])


def prepare(what: str, folder: Path) -> None:
    """Makes what is mutated: a verified bundle, or a run and its signed bundle."""
    os.environ["LEPTON_JAX_TRUST"] = str(folder / "trusted_keys.json")
    if what == "records":
        return
    from lepton_jax.export.bundle import export_bundle
    from lepton_jax.export.verify import verify_bundle
    from tests.graduation import trained_run

    export_bundle(trained_run(folder / "run"), str(folder / "verified"))
    assert verify_bundle(str(folder / "verified")).ok


def judge(what: str, numbers: Sequence[int], folder: Path) -> None:
    """Prints what became of each, a line of JSON each."""
    from tests.export.refusals import shorten

    with tempfile.TemporaryDirectory() as own:
        os.environ["LEPTON_JAX_TRUST"] = f"{own}/trusted_keys.json"
        if what == "bundles":
            from tests.export.refusals import Range, without_programs

            field = Range(folder / "verified", Path(own))
            with without_programs():
                for number in numbers:
                    row = asdict(field.judge(number))
                    print(json.dumps({**row, "said": shorten(row["said"])}), flush=True)
            return
        from tests.replay.alterations import kind_of
        from tests.replay.test_alterations import Field

        records = Field(Path(own))
        for number in numbers:
            said = records.judge(number)
            by = said.split(" ")[0].rstrip(":") if said else ""
            found = {"kind": kind_of(number), "refused": "found" if by else "", "moved": False}
            print(json.dumps({**found, "said": shorten(said)}), flush=True)


if __name__ == "__main__":
    main()
