"""What a person did to a record is noticed before anything stands on it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from lepton_jax.commands.train import TrainingResult
from lepton_jax.config.config_file import resolve_config
from lepton_jax.errors import UserError, WorkError
from lepton_jax.tracking.chain import Basis
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import newest_basis
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.resume import check_same_run
from lepton_jax.training.saved import checkpoint_step, read_config, read_weights
from tests.golden.make_old import OLD

BEST, LAST = 8, 12


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record as a run leaves it, with checkpoints of next to nothing."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    config, _ = resolve_config("configs/digits_cnn.py:tiny", {})
    record = Record.create(run, config.to_json(), {"fingerprint": config.fingerprint()})
    checkpoints = Checkpoints(str(run), keep=set)
    state = {"learner": {"params": {"kernel": jax.numpy.ones(2)}}}
    for step, loss in ((4, 0.5), (BEST, 0.25), (LAST, 1.5)):
        record.log(step, {"valid/loss": loss})
        record.flush()
        checkpoints.save(step, {"state": state}, [record.basis(step, config)])
    checkpoints.wait()
    checkpoints.close()
    record.end("finished", LAST)
    record.close()
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


def edit_config(run: Path, **changes: Any) -> None:
    """Changes keys of config.json; `model__name` is a key of a section, and None takes one out."""
    tree = json.loads((run / "config.json").read_text())
    for name, value in changes.items():
        *sections, key = name.split("__")
        at = tree
        for section in sections:
            at = at[section]
        at[key] = value
        if value is None:
            del at[key]
    (run / "config.json").write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"batch_size": 2}, "batch_size: 8 -> 2"),
        ({"ema": 0.5}, "ema: "),
        ({"train_for": "30 steps"}, "train_for: "),
        ({"optimizer__learning_rate": 1.0}, "optimizer.learning_rate: "),
        ({"model__dropout": 0.9}, "model.dropout: "),
        ({"data__split_seed": 5}, "data.split_seed: "),
        ({"data__valid_fraction": 0.5}, "data.valid_fraction: "),
        ({"best__metric": "valid/accuracy", "best__mode": "max"}, "best"),
        ({"precision": "bfloat16"}, "precision: "),
        ({"optimizer__weight_decay": None}, "optimizer.weight_decay: "),
        ({"seed": 1, "ema": 0.5, "batch_size": 2}, "; "),
    ],
)
def test_an_edited_config_is_refused_by_its_keys(run: Path, changes: dict[str, Any], named: str):
    edit_config(run, **changes)
    with pytest.raises(UserError, match="was edited after the run began") as e:
        read_config(str(run))
    assert named in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "changes",
    [{}, {"keep_last": 7}, {"writers": {}}, {"hang_timeout": 100}, {"checkpoint_every": "9 steps"}],
)
def test_other_spaces_and_running_keys_are_no_edit(run: Path, capsys, changes: dict[str, Any]):
    edit_config(run, **changes)
    config = read_config(str(run))
    assert all(getattr(config, key) == value for key, value in changes.items() if key != "writers")
    assert capsys.readouterr().err == ""


def test_without_a_checkpoint_an_edited_config_is_refused_as_well(run: Path):
    shutil.rmtree(run / "checkpoints")
    edit_config(run, seed=1)
    with pytest.raises(UserError, match="no checkpoint says what"):
        read_config(str(run))


def test_an_old_record_is_known_by_its_fingerprint(tmp_path: Path, capsys):
    old = shutil.copytree(OLD / "finished", tmp_path / "old")
    read_config(str(old))
    assert capsys.readouterr().err == ""
    assert newest_basis(str(old)) is None
    assert checkpoint_step(str(old), "best") == checkpoint_step(str(old), "last") == 60
    edit_config(old, seed=1)
    read_config(str(old))
    assert "another fingerprint than the run had" in capsys.readouterr().err


def damage_metrics(run: Path) -> None:
    file = run / "metrics.jsonl"
    file.write_text(file.read_text().replace("0.25", "2.5", 1))


@pytest.mark.parametrize(
    "ask",
    [
        lambda run: checkpoint_step(run, "best"),
        lambda run: read_weights(run),
    ],
    ids=["which is best", "init_from"],
)
def test_the_best_step_of_changed_rows_is_not_used(run: Path, ask: Callable[[str], Any]):
    damage_metrics(run)
    with pytest.raises(WorkError, match=r"metrics\.jsonl differs in line 2 from the rows"):
        ask(str(run))


def test_a_best_step_without_its_checkpoint_is_said(run: Path, capsys):
    assert checkpoint_step(str(run), "best") == BEST
    shutil.rmtree(run / "checkpoints" / str(BEST))
    assert checkpoint_step(str(run), "best") == 4
    assert "step 8 is the best, and has no checkpoint: taking step 4" in capsys.readouterr().err


def remove(name: str) -> Callable[[Path], None]:
    def act(newest: Path) -> None:
        path = newest / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return act


def write(name: str, content: bytes) -> Callable[[Path], None]:
    def act(newest: Path) -> None:
        (newest / name).write_bytes(content)

    return act


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove("digests.json"), "it has no digests.json"),
        (remove("record.json"), "record.json is missing"),
        (remove("default"), "is missing"),
        (write("digests.json", b"[]"), "its digests.json is damaged"),
        (write("digests.json", b""), "its digests.json is damaged"),
        (write("record.json", b"[]"), "record.json has changed since it was written"),
        (write("notes.txt", b"mine"), "notes.txt does not belong to it"),
    ],
)
def test_a_damaged_checkpoint_is_passed_by(run: Path, damage: Callable[[Path], None], said: str):
    damage(run / "checkpoints" / str(LAST))
    heard: list[str] = []
    assert Checkpoints(str(run)).newest_intact(heard.append) == BEST
    assert said in heard[0]


@pytest.mark.parametrize("content", [b"[]", b'{"commit_timestamp_nsecs": "soon"}', b"[1]"])
def test_times_of_a_checkpoint_in_another_form_are_named(run: Path, content: bytes):
    times = run / "checkpoints" / str(LAST) / "_CHECKPOINT_METADATA"
    times.write_bytes(content)
    with pytest.raises(WorkError, match="_CHECKPOINT_METADATA: one of these is damaged"):
        Checkpoints(str(run))
    times.unlink()
    assert LAST in Checkpoints(str(run)).steps()


def test_a_checkpoint_under_another_name_is_passed_by(run: Path):
    shutil.copytree(run / "checkpoints" / str(LAST), run / "checkpoints" / str(LAST + 5))
    heard: list[str] = []
    assert Checkpoints(str(run)).newest_intact(heard.append) == LAST
    assert f"it is of step {LAST}" in heard[0]


@pytest.mark.parametrize("kind", ["a file", "a link to itself", "a dangling link"])
def test_what_is_in_the_way_of_the_checkpoints_is_named(run: Path, kind: str):
    folder = run / "checkpoints"
    shutil.rmtree(folder)
    if kind == "a file":
        folder.write_text("")
    else:
        folder.symlink_to("checkpoints" if kind == "a link to itself" else "nothere")
    for keep in (None, set):
        with pytest.raises(UserError, match="checkpoints is no folder, and is in the way"):
            Checkpoints(str(run), keep=keep)


def test_things_beside_the_checkpoints_do_no_harm(run: Path):
    steps = Checkpoints(str(run)).steps()
    (run / "checkpoints/notes.txt").write_text("mine")
    (run / "checkpoints/old").mkdir()
    (run / "checkpoints/.DS_Store").write_bytes(b"\x00")
    (run / "checkpoints/12 copy").mkdir()
    assert Checkpoints(str(run)).steps() == steps
    assert newest_basis(str(run)) is not None


@pytest.mark.parametrize("state", ["finished", "stopped", ""])
def test_a_finished_run_without_checkpoints_is_not_trained_again(run: Path, state: str):
    """A run that was killed before its first checkpoint starts over; one that ended does not."""
    shutil.rmtree(run / "checkpoints")
    record = Record.open(run)
    if state:
        record.end(state, LAST)  # type: ignore[arg-type]
    else:
        (run / "status.json").unlink()
    config = read_config(str(run))
    if state == "finished":
        with pytest.raises(UserError, match="its checkpoints are gone: nothing can go on"):
            check_same_run(record, config, {"data_fingerprint": None}, longer=False)
    else:
        check_same_run(record, config, {"data_fingerprint": None}, longer=False)


def test_a_checkpoint_of_several_runs_holds_what_each_stands_on(tmp_path: Path):
    config, _ = resolve_config("configs/digits_cnn.py:tiny", {})
    bases: list[Basis | None] = [None]
    for i in (1, 2):
        record = Record.create(tmp_path / str(i), config.to_json(), {})
        record.log(1, {"train/loss": float(i)})
        record.log(2, {"train/loss": 0.0})
        bases.append(record.basis(1, config))
    checkpoints = Checkpoints(str(tmp_path), keep=set)
    checkpoints.save(1, {"state": jax.numpy.ones(2)}, bases)
    checkpoints.wait()
    assert checkpoints.basis(1, run=0) is None
    found = [checkpoints.basis(1, run=i) for i in (1, 2)]
    assert [basis and basis.parsed() for basis in found] == [
        [{"step": 1, "train/loss": 1.0}], [{"step": 1, "train/loss": 2.0}],
    ]  # fmt: skip
    assert checkpoints.damage(1) == ""
    checkpoints.close()


def test_a_finished_run_that_is_given_again_says_that_nothing_was_left():
    again = TrainingResult("w", 12, {}, 12, stopped=False, taken=0)
    assert str(again).startswith("Nothing was left to do: the run has its 12 steps.")
    first = TrainingResult("w", 12, {}, 12, stopped=False, taken=12)
    assert str(first).startswith("Trained 12 steps.")
