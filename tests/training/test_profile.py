"""`config.profile`: the steps that were asked for are in the trace, and no others."""

import gzip
import json
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.errors import UserError
from lepton_jax.training import profile


def steps_in(workdir: Path) -> list[int]:
    """The numbers of the steps in the only trace of a workdir."""
    (path,) = workdir.glob("profile/plugins/profile/*/*.trace.json.gz")
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return sorted(int(e["args"]["step_num"]) for e in events if e.get("name") == "train")


@pytest.mark.slow
def test_the_trace_holds_the_steps_asked_for_and_changes_no_number(recipe, tmp_path: Path, capfd):
    lepton_jax.train(recipe(train_for="20 steps", profile=(8, 3)), str(tmp_path / "traced"))
    assert steps_in(tmp_path / "traced") == [8, 9, 10]
    assert "profile: 3 steps from step 8 on" in capfd.readouterr().err
    lepton_jax.train(recipe(train_for="20 steps"), str(tmp_path / "plain"))
    assert not (tmp_path / "plain/profile").exists()
    traced, plain = (tmp_path / name / "metrics.jsonl" for name in ("traced", "plain"))
    assert traced.read_bytes() == plain.read_bytes()


@pytest.mark.slow
def test_a_trace_ends_with_the_run(recipe, tmp_path: Path):
    lepton_jax.train(recipe(train_for="5 steps", profile=(3, 10)), str(tmp_path))
    assert steps_in(tmp_path) == [3, 4]


@pytest.mark.slow
def test_steps_that_were_taken_before_a_restart_are_not_traced(recipe, tmp_path: Path, capfd):
    lepton_jax.train(recipe(train_for="10 steps"), str(tmp_path))
    longer = recipe(train_for="12 steps", profile=(3, 2))
    assert lepton_jax.train(longer, str(tmp_path), stretch=True).step == 12
    assert "profile: step 3 is not among the steps 10 to 11" in capfd.readouterr().err
    assert not (tmp_path / "profile").exists()


def test_a_profile_of_no_steps_is_refused(recipe, tmp_path: Path):
    with pytest.raises(UserError, match=r"profile: expected .*, got \(3, 0\)"):
        lepton_jax.train(recipe(train_for="2 steps", profile=(3, 0)), str(tmp_path))


def test_a_trace_can_be_copied_to_where_the_record_is(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/trace").write_bytes(b"1")
    profile.copy_folder(str(tmp_path / "a"), str(tmp_path / "to"))
    assert (tmp_path / "to/b/trace").read_bytes() == b"1"
