"""Trials whose trackers failed are shown after the next group of their pack."""

import os
import shutil

import pytest

from lepton_jax.ablation.run import run_pack
from lepton_jax.tracking.writers import views
from lepton_jax.training import saved


@pytest.fixture
def trials(tiny_run, tmp_path):
    """Three trials that have ended, of which the second one's tracker cannot be written."""
    run = tiny_run("digits_cnn")
    config = saved.read_config(str(run))
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints", "tensorboard"))
    (folders[1] / "tensorboard").write_text("in the way")
    return [(config, str(folder)) for folder in folders]


def test_trials_from_the_first_that_failed_wait_for_the_next_group(trials, capsys):
    unshown = run_pack._show_trials(trials)
    assert unshown == trials[1:]
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"warning: {trials[1][1]} is not shown by all writers: cannot create")
    os.remove(f"{trials[1][1]}/tensorboard")
    assert run_pack._show_trials(unshown) == []
    for _, folder in trials:
        assert any(p.stat().st_size for p in os.scandir(f"{folder}/tensorboard"))


def test_writer_that_raises_while_a_trial_is_shown_fails_no_trial(trials, capsys, monkeypatch):
    def broken(self, rows):
        raise RuntimeError("the tool is gone")

    monkeypatch.setattr(views, "FIRST_PAUSE", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr("lepton_jax.tracking.writers.tensorboard.TensorBoard.send", broken)
        assert run_pack._show_trials(trials[:1]) == trials[:1]
    said = capsys.readouterr().err
    assert "does not show all of" in said
    assert f"--config={trials[0][1]}/config.json --workdir={trials[0][1]}" in said
    assert run_pack._show_trials(trials[:1]) == []
