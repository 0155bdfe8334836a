"""Three recipes are replayed; then a row, a byte, a key and a training label of each are found."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax
from lepton_jax.data import dataset
from lepton_jax.replay.replay import replay_run
from lepton_jax.replay.replayer import Replayer
from tests.replay.forge import flip_byte, rewrite_rows

pytestmark = pytest.mark.slow

EVERY = {
    **{"train_for": "6 steps", "checkpoint_every": "2 steps", "log_every": "2 steps"},
    **{"evaluate_every": "2 steps", "keep_last": "9", "writers": "{}"},
}


class OneAltered:
    """A split of which one example has another label, or another token where it has no label."""

    def __init__(self, split: Any, at: int):
        self._split, self._at = split, at

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> dict[str, Any]:
        element = dict(self._split[index])
        if index == self._at:
            name = "label" if "label" in element else "tokens"
            value = np.array(element[name])
            value.flat[0] = 1 - min(int(value.flat[0]), 1)
            element[name] = value
        return element


@pytest.mark.parametrize("recipe", ["digits_cnn", "mnist1d_gru", "markov_decoder"])
def test_recipe_holds_and_what_is_altered_is_found_and_named(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    replayers: dict[str, Replayer] = {}

    def replay(workdir: Path) -> Any:
        return replay_run(str(workdir), spans=9, seed=0, replayers=replayers)

    lepton_jax.train(f"{recipe}:tiny", str(tmp_path / "true"), overrides=EVERY)
    verdict = replay(tmp_path / "true")
    assert verdict.ok
    assert verdict.equal
    assert len(verdict.spans) == 3

    def altered(name: str) -> Path:
        return Path(shutil.copytree(tmp_path / "true", tmp_path / name))

    row = altered("row")
    rewrite_rows(row, lambda r: r.update({"train/loss": 0.1}) if r["step"] == 4 else None)
    found = replay(row)
    assert {f.what for f in found.findings} == {"metrics.jsonl"}
    assert found.first_step == 4

    byte = altered("byte")
    flip_byte(byte / "checkpoints/4")
    found = replay(byte)
    assert [f.what for f in found.findings] == ["checkpoint 4"]
    assert found.first_step == 4

    key = altered("key")
    config = json.loads((key / "config.json").read_text())
    config["optimizer"]["learning_rate"] *= 2
    (key / "config.json").write_text(json.dumps(config))
    found = replay(key)
    assert [f.what for f in found.findings] == ["config.json"]
    assert "optimizer.learning_rate" in str(found)

    load = dataset.load_dataset

    def load_altered(source: Any, **keys: Any) -> Any:
        splits = {**source.splits, "train": OneAltered(source.splits["train"], 0)}
        changed = f"{source.fingerprint} altered"
        return load(dataclasses.replace(source, splits=splits, fingerprint=changed), **keys)

    monkeypatch.setattr(dataset, "load_dataset", load_altered)
    found = replay_run(str(tmp_path / "true"), spans=9, seed=0)
    assert "data" in {f.what for f in found.findings}
    assert "is not that of the run" in str(found)
