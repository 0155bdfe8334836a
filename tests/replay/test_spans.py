"""Spans are drawn by steps, so that false steps are found with the probability that is said."""

import pytest

from lepton_jax.cli.parse import parse_line
from lepton_jax.commands import COMMANDS
from lepton_jax.replay.spans import Span, draw_spans, list_spans

SPANS = list_spans([400, 450, 500, 1000])


def test_spans_lie_between_kept_steps_and_the_beginning():
    assert [Span(0, 400), Span(400, 450), Span(450, 500), Span(500, 1000)] == SPANS
    assert list_spans([]) == []


@pytest.mark.parametrize(("false", "share"), [({0}, 0.4), ({1, 2}, 0.1), ({3}, 0.5)])
def test_draws_find_false_steps_with_the_probability_that_is_said(false: set[int], share: float):
    wrong = {SPANS[i] for i in false}
    for k in (1, 2, 3):
        found = sum(bool(wrong & {*draw_spans(SPANS, k, seed)}) for seed in range(4_000)) / 4_000
        assert abs(found - (1 - (1 - share) ** k)) < 0.03


def test_a_seed_draws_the_same_spans_and_enough_draws_take_all():
    assert draw_spans(SPANS, 2, 7) == draw_spans(SPANS, 2, 7)
    assert len({tuple(draw_spans(SPANS, 1, seed)) for seed in range(50)}) > 1
    assert draw_spans(SPANS, 4, 0) == SPANS


def test_the_seed_of_a_command_line_is_a_number_or_chance():
    arguments, _ = parse_line(COMMANDS, ["replay", "--workdir=w", "--seed=7"])
    assert arguments["seed"] == 7
    arguments, _ = parse_line(COMMANDS, ["replay", "--workdir=w"])
    assert arguments.get("seed") is None
