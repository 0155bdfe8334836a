"""200 altered and forged records and statements of a bundle's making, each made by its number.

An altered record was changed without making its digests anew; a forged one has new digests, so that
only computing it again can tell.
"""

import base64
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError, WorkError
from lepton_jax.replay.inspect_record import RecordAsFound
from lepton_jax.replay.replay import replay_run
from lepton_jax.replay.replayer import Replayer
from lepton_jax.serving import loader
from lepton_jax.signing.envelope import sign_payload
from lepton_jax.signing.keys import KeyPair, read_private_key
from lepton_jax.signing.signer import find_attester, sign_folder
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import DIGESTS, WRITTEN_LAST
from tests.hostile import ODD, places
from tests.replay.forge import forge_rows, forge_state

COUNT = 200
CONFIG: dict[str, Any] = {
    "model": {"name": "mlp", "features": (8,)},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "generated_images", "classes": 4, "examples": 150}},
    "optimizer": {"name": "adamw", "learning_rate": 1e-2},
    **{"batch_size": 16, "train_for": "40 steps", "evaluate_every": "10 steps"},
    **{"checkpoint_every": "10 steps", "keep_last": 9, "log_every": "5 steps", "writers": {}},
}
STEPS = (10, 20, 30, 40)

Alteration = Callable[[Path, random.Random], None]


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def row_value(workdir: Path, rng: random.Random) -> None:
    path = workdir / "metrics.jsonl"
    rows = [json.loads(line) for line in lines_of(path)]
    row = rng.choice(rows)
    name = rng.choice([k for k in row if k != "step"])
    row[name] = row[name] * rng.choice([0.99, 1.5, 1 + 1e-7]) + 1e-9
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def row_gone(workdir: Path, rng: random.Random) -> None:
    rows = lines_of(workdir / "metrics.jsonl")
    del rows[rng.randrange(len(rows))]
    (workdir / "metrics.jsonl").write_text("".join(rows))


def row_twice(workdir: Path, rng: random.Random) -> None:
    rows = lines_of(workdir / "metrics.jsonl")
    at = rng.randrange(len(rows))
    (workdir / "metrics.jsonl").write_text("".join([*rows[:at], rows[at], *rows[at:]]))


def rows_swapped(workdir: Path, rng: random.Random) -> None:
    rows = lines_of(workdir / "metrics.jsonl")
    i, j = rng.sample(range(len(rows)), 2)
    rows[i], rows[j] = rows[j], rows[i]
    (workdir / "metrics.jsonl").write_text("".join(rows))


def _file(workdir: Path, rng: random.Random) -> Path:
    """Draws a file of a checkpoint that holds something; Orbax's own marks, from which nothing is
    restored, have no digest."""
    folder = workdir / "checkpoints" / str(rng.choice(STEPS))
    there = (p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    return rng.choice(sorted(p for p in there if p.name not in WRITTEN_LAST or p.name == DIGESTS))


def checkpoint_byte(workdir: Path, rng: random.Random) -> None:
    path = _file(workdir, rng)
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def checkpoint_cut(workdir: Path, rng: random.Random) -> None:
    path = _file(workdir, rng)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def checkpoint_without_a_file(workdir: Path, rng: random.Random) -> None:
    _file(workdir, rng).unlink()


def config_key(workdir: Path, rng: random.Random) -> None:
    """A key that the numbers of a run depend on."""
    document = json.loads((workdir / "config.json").read_text())
    change = rng.choice(
        [
            ("optimizer", "learning_rate", 0.02), ("optimizer", "weight_decay", 0.5),
            ("model", "features", [9]), ("data", "split_seed", 7), ("data", "valid_fraction", 0.3),
            (None, "seed", 5), (None, "batch_size", 8), (None, "train_for", "60 steps"),
            (None, "ema", 0.5), (None, "accumulate", 2),
        ]
    )  # fmt: skip
    section, key, value = change
    (document[section] if section else document)[key] = value
    (workdir / "config.json").write_text(json.dumps(document))


def state_line(workdir: Path, rng: random.Random) -> None:
    rows = [json.loads(line) for line in lines_of(workdir / "states.jsonl")]
    row = rng.choice(rows)
    match rng.choice(["state", "metrics", "leaves", "rows"]):
        case "leaves":
            name = rng.choice(sorted(row["leaves"]))
            row["leaves"][name] = "0" * 16
        case "rows":
            row["rows"] += 1
        case name:
            row[name] = "0" * 64
    (workdir / "states.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def state_line_gone(workdir: Path, rng: random.Random) -> None:
    rows = lines_of(workdir / "states.jsonl")
    del rows[rng.randrange(len(rows) - 1)]
    (workdir / "states.jsonl").write_text("".join(rows))


def results_edited(workdir: Path, rng: random.Random) -> None:
    document = json.loads((workdir / "results.json").read_text())
    document[rng.choice([k for k in ("valid", "test") if k in document])]["loss"] = rng.random()
    (workdir / "results.json").write_text(json.dumps(document))


def forged_row(workdir: Path, rng: random.Random) -> None:
    step = rng.choice(STEPS)

    def better(row: dict[str, Any]) -> None:
        if row["step"] == step:
            name = rng.choice(sorted(k for k in row if k.endswith("loss")))
            row[name] *= rng.choice([0.999, 0.9])

    forge_rows(workdir, better)


def forged_state(workdir: Path, rng: random.Random) -> None:
    step, of = rng.sample(STEPS, 2)
    forge_state(workdir, step, of)


ALTERED: dict[str, Alteration] = {
    f.__name__: f
    for f in (
        row_value, row_gone, row_twice, rows_swapped, checkpoint_byte, checkpoint_cut,
        checkpoint_without_a_file, config_key, state_line, state_line_gone, results_edited,
    )
}  # fmt: skip
FORGED: dict[str, Alteration] = {f.__name__: f for f in (forged_row, forged_state)}
STATEMENTS = (
    "another_value_by_another_key", "another_value_by_the_same_key", "another_bundles_statement",
    "flipped_payload", "flipped_signature", "cut_off", "more_replays_by_another_key",
)  # fmt: skip
KINDS = (*ALTERED, *FORGED, *STATEMENTS)


def kind_of(number: int) -> str:
    return KINDS[number % len(KINDS)]


def judge_record(number: int, workdir: Path, replayers: dict[str, Replayer]) -> str:
    """Alters the record in `workdir`; returns what was found first, '' where nothing was.

    A forged one is computed again whole: the draws of a replay are measured elsewhere.
    """
    kind, rng = kind_of(number), random.Random(number)
    (ALTERED | FORGED)[kind](workdir, rng)
    try:
        if kind in FORGED:
            findings = replay_run(str(workdir), spans=99, seed=0, replayers=replayers).findings
        else:
            Record.open(str(workdir), writes=False).results()
            findings = tuple(RecordAsFound(str(workdir)).findings)
    except (UserError, WorkError) as e:
        return str(e)
    return str(findings[0]) if findings else ""


def judge_statement(number: int, bundle: Path, alice: KeyPair, mallory: KeyPair) -> str:
    """Forges the statement of a bundle's making that alice signed; returns why it is refused."""
    kind, rng = kind_of(number), random.Random(number)
    path = bundle / loader.ATTESTED
    document = json.loads(path.read_text())
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    said = json.loads(payload)
    key = mallory if kind.endswith("another_key") else alice
    if kind == "more_replays_by_another_key":
        said["predicate"]["runDetails"]["byproducts"].append(
            {
                "name": "replay",
                "annotations": {"all_spans": 1, "compared": "bits", "spans": [[0, 9]]},
            }
        )
    elif kind.startswith("another_value"):
        everywhere = [p for p in places(said) if p[1] != "annotations" or "replay" not in p[0]]
        container, name = rng.choice(everywhere)
        container[name] = rng.choice([v for v in ODD if repr(v) != repr(container[name])])
    elif kind == "another_bundles_statement":
        other = shutil.copytree(bundle, bundle.parent / "other")
        lineage = json.loads((other / "lineage.json").read_text())
        (other / "lineage.json").write_text(json.dumps({**lineage, "step": lineage["step"] + 1}))
        (other / loader.MANIFEST).write_bytes(
            loader.manifest_bytes(other, [f["path"] for f in _listed(other)])
        )
        sign_folder(other, alice.private)
        path.write_bytes((other / loader.ATTESTED).read_bytes())
    if kind.startswith(("another_value", "more_replays")):
        text = sign_payload(json.dumps(said).encode(), read_private_key(key.private)).decode()
        path.write_text(text.replace(key.id, alice.id))
    if kind == "cut_off":
        path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size - 2)])
    elif kind.startswith("flipped"):
        envelope = document["dsseEnvelope"]
        place, name = (
            (envelope, "payload")
            if kind == "flipped_payload"
            else (envelope["signatures"][0], "sig")
        )
        raw = bytearray(base64.b64decode(place[name]))
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        place[name] = base64.b64encode(bytes(raw)).decode()
        path.write_text(json.dumps(document))
    attester, replays = find_attester(bundle)
    if attester.state in ("invalid", "revoked") and not replays:
        return str(attester)
    return ""


def _listed(bundle: Path) -> list[dict[str, Any]]:
    return json.loads((bundle / loader.MANIFEST).read_text())["files"]
