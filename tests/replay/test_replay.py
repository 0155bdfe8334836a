"""A record that was changed is found and named; one that was left alone holds, to the bit."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

import lepton_jax
from lepton_jax.config.config_file import resolve_config
from lepton_jax.errors import UserError
from lepton_jax.replay.replay import replay_run
from lepton_jax.replay.replayer import Replayer
from lepton_jax.tracking.state_chain import (
    StateFile,
    combine_digests,
    find_broken_link,
    shorten_digests,
)
from lepton_jax.training.checkpoint_files import read_basis
from lepton_jax.training.state_digests import digest_array
from lepton_jax.training.train import train
from tests.laws import read_leaves
from tests.replay.forge import flip_byte, forge_rows, forge_state, rewrite_rows, seal
from tests.training.conftest import recipe  # noqa: F401

ROOT = Path(__file__).parent.parent.parent
ALL = 99
LABELS = "labels.npz"


def write_data(path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (150, 8, 8, 1), np.uint8)
    label = rng.integers(0, 4, 150).astype(np.int32)
    np.savez(
        path, train_image=image, train_label=label, valid_image=image[:20], valid_label=label[:20]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Replayer]]:
    """A run of 40 steps, stopped at step 25 and gone on with, that kept its checkpoints."""
    folder = tmp_path_factory.mktemp("made")
    write_data(folder / LABELS)
    config = {
        "model": {"name": "mlp", "features": (16,), "dropout": 0.1},
        "task": {"name": "image_classification"},
        "data": {"source": {"name": "npz", "path": str(folder / LABELS)}, "prepare": "scale()"},
        "optimizer": {"name": "adamw", "learning_rate": 1e-2},
        "batch_size": 16,
        "train_for": "40 steps",
        "evaluate_every": "10 steps",
        "checkpoint_every": "10 steps",
        "checkpoint_milestones": "10 steps",
        "keep_last": 1,
        "log_every": "7 steps",
        "writers": {},
    }
    stopped = resolve_config(config)[0]
    train(stopped, str(folder / "w"), longer=False, command=["train"], until=25)
    lepton_jax.train(config, str(folder / "w"))
    return folder / "w", {}


@pytest.fixture
def changed(made: tuple[Path, dict[str, Replayer]], tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    shutil.copytree(made[0], tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture
def replay(made: tuple[Path, dict[str, Replayer]]) -> Callable[..., Any]:
    """Replays a workdir; the program is built once for all."""
    return lambda workdir, spans=ALL, seed=0: replay_run(
        str(workdir), spans=spans, seed=seed, replayers=made[1]
    )


def test_a_run_that_was_stopped_on_the_way_holds_to_the_bit(made, replay):
    verdict = replay(made[0])
    assert verdict.ok, str(verdict)
    assert [str(s.span) for s in verdict.spans][:2] == ["steps 0 to 10", "steps 10 to 20"]
    assert all(s.equal and s.rows and s.states for s in verdict.spans)
    assert not verdict.elsewhere
    assert "every step up to the last checkpoint was computed again" in str(verdict)
    assert json.loads(json.dumps(verdict.as_json()))["compared"] == "bits"


def test_every_state_that_was_saved_has_a_line_and_dropped_checkpoints_too(made):
    links = StateFile(str(made[0])).links()
    assert [link.step for link in links] == [10, 20, 25, 30, 40]
    assert not (made[0] / "checkpoints/25").exists()
    assert find_broken_link(links) is None
    leaves = read_leaves(made[0], 40, "state.")
    digests = {name: digest_array(x) for name, x in leaves.items()}
    assert links[-1].leaves == shorten_digests(digests)
    assert links[-1].state == combine_digests(digests)
    basis = read_basis(epath.Path(made[0] / "checkpoints"), 40)
    assert basis
    assert (links[-1].rows, links[-1].metrics) == (basis.rows, basis.digest)


def test_drawn_spans_say_how_likely_a_false_record_is_found(made, replay):
    verdict = replay(made[0], spans=2, seed=1)
    assert len(verdict.spans) <= 2
    assert "with probability 19%" in str(verdict)


def test_a_changed_metric_is_named(changed: Path, replay):
    def better(row: dict[str, Any]) -> None:
        if row["step"] == 14:
            row["train/loss"] *= 0.99

    rewrite_rows(changed, better)
    verdict = replay(changed, spans=1, seed=2)
    assert not verdict.ok
    assert verdict.first_step == 14
    assert {f.what for f in verdict.findings} == {"metrics.jsonl"}
    assert "differs in line 3 from the rows" in str(verdict)


def test_a_metric_that_was_forged_with_all_its_digests_is_found_by_computing(changed, replay):
    def better(row: dict[str, Any]) -> None:
        if row["step"] == 14:
            row["train/loss"] *= 0.99

    forge_rows(changed, better)
    verdict = replay(changed)
    assert [f.what for f in verdict.findings] == ["metrics.jsonl"]
    assert verdict.first_step == 14
    assert "train/loss" in str(verdict)
    assert [str(s.span) for s in verdict.spans if s.findings] == ["steps 10 to 20"]


def test_a_byte_of_a_checkpoint_is_named(changed: Path, replay):
    file = flip_byte(changed / "checkpoints/20")
    verdict = replay(changed, spans=1)
    assert [f.what for f in verdict.findings] == ["checkpoint 20"]
    assert verdict.first_step == 20
    assert file.name in str(verdict)
    assert verdict.all_spans == 3


@pytest.mark.slow
def test_a_checkpoint_of_another_step_with_new_digests_is_named(changed: Path, replay):
    """By the digests of its arrays in states.jsonl, and by computing it."""
    own = (changed / "checkpoints/20/record.json").read_bytes()
    shutil.rmtree(changed / "checkpoints/20")
    shutil.copytree(changed / "checkpoints/10", changed / "checkpoints/20")
    (changed / "checkpoints/20/record.json").write_bytes(own)
    seal(changed / "checkpoints/20")
    verdict = replay(changed)
    assert verdict.first_step == 20
    assert "checkpoint 20 holds other arrays than states.jsonl says" in str(verdict)


@pytest.mark.slow
def test_a_state_that_was_forged_with_all_its_digests_is_found_by_computing(changed: Path, replay):
    forge_state(changed, 20, of=10)
    verdict = replay(changed)
    assert verdict.first_step == 20
    assert "states.jsonl says another state than is computed" in str(verdict)
    assert next(str(s.span) for s in verdict.spans if s.findings) == "steps 10 to 20"


def test_a_changed_line_of_the_digests_is_named(changed: Path, replay):
    states = changed / "states.jsonl"
    lines = states.read_text().splitlines(keepends=True)
    states.write_text("".join([lines[0], *lines[2:]]))
    verdict = replay(changed, spans=1)
    assert [f.what for f in verdict.findings] == ["states.jsonl"]
    assert verdict.first_step == 25


def test_a_changed_key_of_the_config_is_named(changed: Path, replay):
    config = changed / "config.json"
    config.write_text(config.read_text().replace("0.01", "0.02", 1))
    verdict = replay(changed, spans=1)
    assert [f.what for f in verdict.findings] == ["config.json"]
    assert "optimizer.learning_rate: 0.01 -> 0.02" in str(verdict)
    assert verdict.first_step == 0


def test_one_changed_label_is_found_with_the_first_step_that_differs(made, changed: Path):
    data = made[0].parent / LABELS
    was = data.read_bytes()
    arrays = dict(np.load(data))
    arrays["train_label"][5] = (arrays["train_label"][5] + 1) % 4
    try:
        np.savez(data, **arrays)
        verdict = replay_run(str(changed), spans=1, seed=3)
    finally:
        data.write_bytes(was)
    assert "data" in {f.what for f in verdict.findings}
    assert verdict.first_step == 7


@pytest.mark.slow
def test_a_record_without_digests_is_replayed_from_its_checkpoints(changed: Path, replay):
    (changed / "states.jsonl").unlink()
    verdict = replay(changed)
    assert verdict.ok, str(verdict)
    assert "no states.jsonl" in str(verdict)


def test_a_record_without_checkpoints_is_told_the_way_on(changed: Path, replay):
    shutil.rmtree(changed / "checkpoints")
    (changed / "states.jsonl").unlink()
    with pytest.raises(UserError, match="has no checkpoint, so there is nothing to compare with"):
        replay(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_cnn", "mnist1d_gru", "markov_decoder"])
def test_a_recipe_is_replayed_to_the_bit_by_the_command(name: str, tmp_path: Path):
    train = ["train", f"--config=configs/{name}.py:tiny", f"--workdir={tmp_path}"]
    for command in (train, ["replay", f"--workdir={tmp_path}", "--spans=9", "--seed=1", "--json"]):
        done = subprocess.run(
            [sys.executable, "launch.py", *command], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout)
    assert verdict["compared"] == "bits"
    assert all(span["equal"] for span in verdict["spans"])


def test_a_line_of_digests_that_was_torn_is_written_again(changed: Path):
    states = changed / "states.jsonl"
    was = states.read_bytes()
    states.write_bytes(was[:-40])
    file = StateFile(str(changed))
    file.rewind(40)
    *before, last = StateFile(str(made_links(was, changed))).links()
    assert file.links() == before
    basis = read_basis(epath.Path(changed / "checkpoints"), 40)
    assert basis
    file.add(
        basis, {name: digest_array(x) for name, x in read_leaves(changed, 40, "state.").items()}
    )
    assert states.read_bytes() == was
    assert StateFile(str(changed)).links()[-1] == last


def made_links(data: bytes, beside: Path) -> Path:
    """A folder that holds a states.jsonl alone."""
    folder = beside.parent / "whole"
    folder.mkdir()
    (folder / "states.jsonl").write_bytes(data)
    return folder
