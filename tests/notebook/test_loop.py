"""A loop of one's own computes what `train` does, and its record reads as any run's."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax as lj
from lepton_jax.trees import flatten_tree

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the loop of docs/notebook.md leaves, in small: `loop`, `state`, `run`."""
    text = (ROOT / "docs/notebook.md").read_text()
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, re.S) if "build_loop" in c)
    for documented, tiny in (
        ("digits_cnn", "digits_cnn:tiny"),
        ("200 steps", "3 steps"),
        ("% 50", "% 3"),
    ):
        assert documented in code
        code = code.replace(documented, tiny)
    code = code.replace('"runs/mine"', repr(str(tmp_path_factory.mktemp("runs") / "mine")))
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_the_documented_loop_ends_with_the_bytes_of_a_run(
    documented: dict[str, Any], tiny_run: Callable[[str], Path]
):
    mine, ran = documented["run"], lj.load(tiny_run("digits_cnn"), step="last")
    theirs = flatten_tree(ran.params)
    for name, x in flatten_tree(mine.params).items():
        np.testing.assert_array_equal(x, theirs[name])
    assert mine.metrics["valid/loss"][-1] == ran.metrics["valid/loss"][-1]
    assert mine.record.status()["state"] == "finished"


def test_a_state_stays_usable_after_its_step(documented: dict[str, Any]):
    loop, state = documented["loop"], documented["state"]
    first = loop.means(loop.step(state, loop.batch(0))[1])
    assert loop.means(loop.step(state, loop.batch(0))[1]) == first
    assert loop.module(state)


def test_a_loop_that_fails_says_so_in_its_record(documented: dict[str, Any], tmp_path: Path):
    loop = documented["loop"]
    with (
        contextlib.suppress(ZeroDivisionError),
        loop.open_record(f"{tmp_path}/w") as record,
    ):
        record.log(1, {"train/loss": 1 / 1})
        record.log(2, {"train/loss": 1 / 0})
    status = lj.load(tmp_path / "w").record.status()
    assert (status["state"], status["step"]) == ("failed", 1)
    assert status["reason"] == "division by zero"
    with pytest.raises(lj.UserError, match="holds the record of a run"):
        loop.open_record(f"{tmp_path}/w").__enter__()
