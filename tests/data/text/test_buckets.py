"""Batches of texts of like lengths: nothing is lost, little is padding, all ways train alike."""

import dataclasses
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

import lepton_jax
from lepton_jax.config import config_file
from lepton_jax.data.loader import Batches
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns
from lepton_jax.data.text.buckets import make_buckets
from lepton_jax.errors import UserError
from lepton_jax.training import build
from lepton_jax.training.feed import CompiledAhead, DeviceFeed
from lepton_jax.training.layout import build_layout
from lepton_jax.training.load_data import load_data

RECIPE = str(Path(__file__).parents[3] / "configs/trec_cnn.py")
N, B, T = 1003, 32, 40
RNG = np.random.default_rng(0)
LENGTH = np.minimum(RNG.geometric(0.1, N), T).astype(np.int32)
TOKENS = np.where(np.arange(T) < LENGTH[:, None], RNG.integers(1, 99, (N, T)), 0).astype(np.int32)
TEXTS = Columns({"tokens": TOKENS, "length": LENGTH, "label": np.arange(N, dtype=np.int32)})
LENGTHS = (4, 8, 12, 16, 24, 40)


def order(seed=0):
    return Order(N, B, seed, buckets=make_buckets(TEXTS, LENGTHS))


def test_every_epoch_has_every_text_once_and_each_its_own_batches():
    indices = np.concatenate([order().indices(k) for k in range(4 * N // B)])
    for e in range(3):
        assert sorted(indices[e * N : (e + 1) * N]) == list(range(N))
    assert set(order().indices(0)) != set(order(seed=1).indices(0))
    np.testing.assert_array_equal(order().indices(70), [order().indices(k) for k in range(71)][-1])


def test_a_batch_is_cut_to_its_bucket_and_loses_no_token():
    batches = Batches(TEXTS, order())
    padded = 0.0
    steps = 3 * N // B
    for k in range(steps):
        batch = batches(k)
        width = batch["tokens"].shape[1]
        assert width in LENGTHS
        assert (batch["length"] <= width).all()
        np.testing.assert_array_equal(batch["tokens"], TOKENS[batch["label"], :width])
        padded += 1 - batch["length"].sum() / batch["tokens"].size
    assert padded / steps < 0.3 < 1 - LENGTH.mean() / T


def test_all_seeds_are_at_the_same_length_at_the_same_step():
    lengths = [[order(seed).length(k) for k in range(90)] for seed in (0, 1)]
    within = [k for k in range(90) if k * B // N == ((k + 1) * B - 1) // N]
    assert len(set(lengths[0])) > 3
    assert [lengths[0][k] for k in within] == [lengths[1][k] for k in within]


def test_in_memory_and_streamed_a_run_is_the_same_to_the_byte(tmp_path: Path):
    changes = {"train_for": "6 steps", "data.buckets": "(8, 40)", "batch_size": "16"}
    config, _ = config_file.load_config(f"{RECIPE}:tiny", changes)
    found = []
    for placement in ("device", "stream"):
        data = dataclasses.replace(config.data, placement=placement)
        run = lepton_jax.train(dataclasses.replace(config, data=data), str(tmp_path / placement))
        found.append((tmp_path / placement / "metrics.jsonl").read_bytes())
    assert run.step == 6
    assert found[0] == found[1]


def test_the_programs_of_all_lengths_are_compiled_in_threads_beside_each_other(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("lepton_jax.training.feed.REPORT_EVERY", 0.0)
    config, _ = config_file.load_config(f"{RECIPE}:tiny", {"data.buckets": "(6, 8, 12, 40)"})
    data = load_data(config)
    placed = build_layout(build.build_program(config, data))
    steps = range(12)
    said: list[str] = []
    train = data.splits["train"]
    ahead = CompiledAhead(DeviceFeed(placed, train), placed, steps, said.append)
    compiled_by = []

    def listener(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            compiled_by.append(threading.current_thread())

    fresh = placed.fresh()
    state, sums = fresh["state"], fresh["sums"]
    lengths = {len(ahead.inputs(k).length_marker) for k in steps}
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for k in steps:
            state, sums = ahead.step(state, sums, *ahead.inputs(k))
    finally:
        ahead.close()
    assert len(lengths) > 1
    assert int(state.step) == len(steps)
    assert threading.main_thread() not in compiled_by
    count = len(lengths)
    assert f"compiled {count} of {count} programs, one for each length of data.buckets" in said


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match=r"example \d+ of 'train' has 40 tokens"):
        make_buckets(TEXTS, (4, 8))
    with pytest.raises(UserError, match="from short to long"):
        make_buckets(TEXTS, (8, 4))
    with pytest.raises(UserError, match="needs texts with lengths"):
        make_buckets(Columns({"label": LENGTH}), (4,))
    with pytest.raises(UserError, match="keeps the order of a text"):
        Order(N, B, 0, contiguous=True, buckets=make_buckets(TEXTS, LENGTHS))
