"""A loop of one's own computes what `train` does, and its record reads as any run's."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax as lj
from lepton_jax.notebook.loop_parts import LoopParts
from lepton_jax.trees import flatten_tree

ROOT = Path(__file__).parent.parent.parent


def test_the_documented_loop_ends_with_the_bytes_of_a_run(
    tiny_run: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/notebook.md").read_text()
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, re.S) if "build_loop" in c)
    for documented, tiny in (
        ("digits_cnn", "digits_cnn:tiny"),
        ("200 steps", "3 steps"),
        ("% 50", "% 3"),
    ):
        assert documented in code
        code = code.replace(documented, tiny)
    names: dict[str, Any] = {}
    exec(code, names)

    mine, ran = names["run"], lj.load(tiny_run("digits_cnn"), step="last")
    theirs = flatten_tree(ran.params)
    for name, x in flatten_tree(mine.params).items():
        np.testing.assert_array_equal(x, theirs[name])
    assert mine.metrics["valid/loss"][-1] == ran.metrics["valid/loss"][-1]
    assert mine.record.status()["state"] == "finished"


@pytest.fixture(scope="module")
def loop() -> LoopParts:
    return lj.build_loop("mnist1d_logistic:tiny")


def test_a_state_stays_usable_after_its_step(loop: LoopParts):
    state = loop.init()
    first = loop.means(loop.step(state, loop.batch(0))[1])
    assert loop.means(loop.step(state, loop.batch(0))[1]) == first
    assert loop.module(state)


def test_a_loop_that_fails_says_so_in_its_record(loop: LoopParts, tmp_path: Path):
    def run_loop() -> None:
        with loop.open_record(f"{tmp_path}/w") as record:
            record.log(1, {"train/loss": 1.0})
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError):
        run_loop()
    status = lj.load(tmp_path / "w").record.status()
    assert (status["state"], status["step"], status["reason"]) == ("failed", 1, "mine")
    with pytest.raises(lj.UserError, match="holds the record of a run"):
        loop.open_record(f"{tmp_path}/w").__enter__()
