"""Configs, checkpoints, help and what commands print are as they were; a change is said so.

The golden files are written by `python -m tests.golden.make`, which says more.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.golden import make, shapes
from tests.golden.compare import assert_golden, golden

QUICK = ("digits_cnn", "mnist1d_gru", "mnist_vae", "shakespeare_lstm", "trec_cnn")
"""Of the recipes' checkpoints; the others are looked at in `make test-all`."""


def test_configs_fingerprints_and_program_keys_are_those_of_the_golden_file():
    assert_golden(golden("configs"), make.configs(), "configs")


def test_trials_of_the_experiments_have_the_names_and_programs_of_the_golden_file():
    assert_golden(golden("trials"), make.trials(), "trials")


def test_help_is_that_of_the_golden_file():
    assert_golden(golden("help"), make.help_texts(), "help")


def test_flags_and_their_defaults_are_those_of_the_golden_file():
    assert_golden(golden("flags"), make.flags(), "flags")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if Path(n).stem in QUICK else pytest.mark.slow, id=Path(n).name)
        for n in make.LEAVES
    ],
)
def test_a_checkpoint_has_the_leaves_of_the_golden_file(name: str):
    was = {name: golden("checkpoint_leaves")[name]}
    assert_golden(was, {name: make.checkpoint_leaves(name)}, "checkpoint_leaves")


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Walks once for all of what is compared."""
    return shapes.walk(tmp_path_factory.mktemp("walk"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the walk: four minutes of one CPU
@pytest.mark.parametrize("name", ["json_shapes", "bundle", "record"])
def test_what_commands_print_and_leave_has_the_structure_of_the_golden_file(
    walked: dict[str, Any], name: str
):
    assert_golden(golden(name), walked[name], name)
