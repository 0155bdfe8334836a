"""What rows of the batch carry from step to step: truncated backpropagation through time."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lepton_jax.config.validation import validate_config
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.spec import Vocabulary
from lepton_jax.errors import UserError
from lepton_jax.training import saved
from lepton_jax.training.saved import named_weights
from lepton_jax.training.train import train as run
from tests.laws import read_leaves

SYMBOLS = 4
CONFIG: dict[str, Any] = {
    "model": {"name": "rnn_lm", "layers": 1, "width": 32, "dropout": 0.1},
    "task": {"name": "language_modelling", "carry": True},
    "data": {"source": {"name": f"{__name__}:echoes"}, "order": "contiguous"},
    "optimizer": {"name": "adam", "learning_rate": 1e-2},
    "batch_size": 8,
    "train_for": "12 steps",
    "evaluate_every": "4 steps",
    "checkpoint_every": "6 steps",
    "log_every": "1 steps",
    "precision": "float64",
    "writers": {},
}
CARRIED = "learner.carried."


def echoes(*, examples: int = 64) -> Source:
    """Chunks whose targets are a symbol, nothing, the symbol again and nothing: in nine of ten the
    symbol of the chunk before, which lies before the first input; in the others any."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(1, SYMBOLS + 1, size=examples)
    for i in np.flatnonzero(rng.random(examples - 1) < 0.9) + 1:
        symbols[i] = symbols[i - 1]
    nothing = np.zeros_like(symbols)
    tokens = np.stack([nothing, symbols, nothing, symbols, nothing], 1).astype(np.int32)
    columns = Columns({"tokens": tokens})
    vocabulary = Vocabulary(tuple(map(str, range(SYMBOLS + 1))))
    splits = {"train": columns, "valid": columns, "test": columns}
    return Source(splits, (), f"echoes {examples}", "echoes", vocabulary)


def train(workdir: Path, **changes: Any) -> Any:
    config = copy.deepcopy(CONFIG)
    until = changes.pop("until", 0)
    for path, value in changes.items():
        *sections, key = path.split("__")
        at = config
        for section in sections:
            at = at[section]
        at[key] = value
    return run(validate_config(config), str(workdir), longer=False, command=[], until=until)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train(workdir)
    return workdir


def test_a_broken_run_goes_on_with_what_its_rows_knew(whole: Path, tmp_path: Path):
    train(tmp_path, until=6)
    known = [
        x for name, x in read_leaves(tmp_path, 6, "state.").items() if name.startswith(CARRIED)
    ]
    assert len(known) == 2
    assert all(row.any() for x in known for row in x)
    train(tmp_path)
    expected, found = read_leaves(whole, 12, "state."), read_leaves(tmp_path, 12, "state.")
    assert expected.keys() == found.keys()
    for name, leaf in expected.items():
        assert leaf.tobytes() == found[name].tobytes(), name


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"strategy": {"name": "pmap"}}, marks=pytest.mark.slow),
        pytest.param({"strategy": {"name": "mesh"}}, marks=pytest.mark.slow),
        pytest.param({"strategy": {"name": "mesh", "fsdp": 8}}, marks=pytest.mark.slow),
        pytest.param({"accumulate": 4}, marks=pytest.mark.slow),
        pytest.param({"data__placement": "stream"}, marks=pytest.mark.slow),
        pytest.param(
            {"strategy": {"name": "pmap", "devices_used": 2}, "accumulate": 2},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_rows_carry_the_same_wherever_they_are(changes: Any, whole: Path, tmp_path: Path):
    train(tmp_path, **changes)
    expected, found = read_leaves(whole, 12, "state."), read_leaves(tmp_path, 12, "state.")
    names = [name for name in expected if name.startswith(CARRIED)]
    assert {expected[name].shape for name in names} == {(8, 32)}
    for name in [*names, "learner.params.tokens.embedding"]:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-10, err_msg=name)


def test_carrying_finds_the_answers_that_lie_in_the_batch_before(tmp_path: Path):
    keys = {"train_for": "200 steps", "log_every": "50 steps", "evaluate_every": "200 steps",
            "checkpoint_every": "200 steps", "precision": "float32", "model__dropout": 0.0,
            "data__source": {"name": f"{__name__}:echoes", "examples": 4096},
            "batch_size": 64}  # fmt: skip
    last = {}
    for carry in (True, False):
        workdir = tmp_path / str(carry)
        train(workdir, **keys, task__carry=carry)
        rows = saved.Record.open(str(workdir)).rows()
        last[carry] = [row["train/loss"] for row in rows if "train/loss" in row][-1]
    again = 0.9 + 0.1 / SYMBOLS
    known = -again * np.log(again) - (1 - again) * np.log(0.1 / SYMBOLS)
    # Nats a token, of which the first of four is to be told.
    assert last[True] < 1.5 * known / 4
    assert last[False] > 0.9 * np.log(SYMBOLS) / 4


def test_what_is_carried_is_no_part_of_what_is_evaluated_and_exported(whole: Path):
    trained = saved.load_run(str(whole), "last")
    params, rest = trained.program.training.variables(trained.state)
    assert not any(x.shape[:1] == (8,) for x in named_weights(params, rest).values())
    tokens = np.arange(4, dtype=np.int32).reshape(2, 2)
    model = trained.program.parts.module(params, rest)
    fresh, _ = model.read(tokens, model.start(2))
    np.testing.assert_array_equal(model(tokens), fresh)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__order": "shuffled"}, "data.order = 'shuffled' gives it another text"),
        ({"model": {"name": "transformer", "layers": 1, "width": 8, "heads": 1}}, "Transformer "),
        (
            {"batch_size": 80},
            "batch_size = 80: data.order = 'contiguous' needs at least one example",
        ),
    ],
)
def test_what_cannot_carry_is_said_before_the_first_step(changes: Any, said: str, tmp_path: Path):
    with pytest.raises(UserError, match=said):
        train(tmp_path, **changes)
