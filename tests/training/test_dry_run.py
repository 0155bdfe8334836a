"""What passes `--dry_run` starts, and a start that fails leaves its workdir free."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jax import api
from lepton_jax.errors import UserError

RECIPE = str(Path(__file__).parents[2] / "configs/digits_cnn.py:tiny")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"init_from": "{base}/nowhere"}, "there is no such file or folder"),
        (
            {"init_from": "{base}", "model.name": "mlp", "data.source.classes": 5},
            "nothing there matches this model",
        ),
        ({"seed": 5}, "holds a run of another config"),
    ],
    ids=["no weights", "other weights", "another run"],
)
def test_a_dry_run_finds_what_a_start_would(
    overrides: dict[str, Any], said: str, tiny_run: Callable[[str], Path], tmp_path: Path
):
    base = tiny_run("digits_cnn")
    given = {k: v.format(base=base) if isinstance(v, str) else v for k, v in overrides.items()}
    workdir = base if "seed" in overrides else tmp_path / "w"
    with pytest.raises(UserError, match=said):
        api.train(RECIPE, workdir, overrides=given, dry_run=True)
    assert not (tmp_path / "w").exists()


def test_a_dry_run_tells_of_the_weights_and_of_the_run_that_goes_on(
    tiny_run: Callable[[str], Path], tmp_path: Path
):
    base = tiny_run("digits_cnn")
    found = api.train(RECIPE, tmp_path, overrides={"init_from": base}, dry_run=True)
    assert "arrays taken over" in found.as_json()["init_from"]
    assert not list(tmp_path.iterdir())
    before = sorted(f.name for f in base.iterdir())
    assert "init_from" not in api.train(RECIPE, base, dry_run=True).as_json()
    assert sorted(f.name for f in base.iterdir()) == before


def test_a_workdir_that_cannot_be_made_is_told_before_the_start(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for workdir in (tmp_path / "file", tmp_path / "file/w"):
        with pytest.raises(UserError, match="file is no folder"):
            api.train(RECIPE, workdir, dry_run=True)


@pytest.mark.slow
def test_a_start_that_fails_leaves_the_workdir_to_the_next_config(tmp_path: Path):
    with pytest.raises(UserError, match="there is no such file or folder"):
        api.train(RECIPE, tmp_path / "w", overrides={"init_from": tmp_path / "nowhere"})
    api.train(RECIPE, tmp_path / "w", dry_run=True)
    assert api.train(RECIPE, tmp_path / "w").step == 3


def test_a_dry_run_names_what_is_drawn_anew_beside_the_weights_of_a_run(
    tiny_run: Callable[[str], Path], tmp_path: Path
):
    changes = {"model.hidden": 64, "init_from": str(tiny_run("digits_cnn"))}
    told = str(api.train(RECIPE, tmp_path / "w", overrides=changes, dry_run=True))
    (line,) = [line for line in told.splitlines() if line.startswith("init_from")]
    assert line.count("init_from") == 1
    assert line.endswith("; fresh: head.kernel, hidden.bias, hidden.kernel")


def test_a_dry_run_shows_what_half_a_pattern_leaves_to_train(tmp_path: Path):
    group = "optimizer.groups.body"
    changes = {f"{group}.pattern": "^(blocks|hiden)", f"{group}.learning_rate": 0.0}
    lines = str(api.train(RECIPE, tmp_path, overrides=changes, dry_run=True)).splitlines()
    groups = {line.split()[0]: line.rpartition("  ")[2] for line in lines if line.strip()}
    assert groups["parameter"] == "group"
    assert groups["blocks.1.conv.kernel"] == "body, frozen"
    assert groups["hidden.kernel"] == "-"
