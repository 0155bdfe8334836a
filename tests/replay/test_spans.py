"""Spans are drawn by steps, so that false steps are found with the probability that is said."""

import dataclasses

import pytest

from lepton_jax.cli.parse import parse_line
from lepton_jax.commands import COMMANDS
from lepton_jax.errors import UserError
from lepton_jax.replay.spans import Span, choose_spans, draw_spans, list_spans
from lepton_jax.replay.verdict import ReplayedSpan, ReplayVerdict

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


def test_the_spans_of_some_steps_are_those_in_which_one_of_them_lies():
    assert choose_spans(SPANS, "0:400") == SPANS[:1]
    assert choose_spans(SPANS, "399:450") == SPANS[:2]
    assert choose_spans(SPANS, "700:9000") == SPANS[3:]
    for wrong, said in [
        ("1000:1500", "the last checkpoint is of step 1,000, so no later step can be computed"),
        ("40", "--steps=40: expected FIRST:LAST, such as 0:1500"),
        ("40:40", "expected FIRST:LAST"),
    ]:
        with pytest.raises(UserError, match=said):
            choose_spans(SPANS, wrong)


def test_a_verdict_says_what_was_drawn_and_promises_no_more():
    span = ReplayedSpan(Span(0, 400), True, (), 3, 1)
    drawn = ReplayVerdict("w", 1, 4, (span,), (), (), (), draws=2)
    assert "Replay of w, 2 draws that lie in 1 of 4 spans (--seed=1):" in str(drawn)
    chosen = dataclasses.replace(drawn, draws=0, steps="0:400")
    assert "Replay of w, 1 of 4 spans (--steps=0:400):" in str(chosen)
    assert str(chosen).endswith("It holds in these spans; of the others nothing was computed.")


def test_the_seed_of_a_command_line_is_a_number_or_chance():
    arguments, _ = parse_line(COMMANDS, ["replay", "--workdir=w", "--seed=7"])
    assert arguments["seed"] == 7
    arguments, _ = parse_line(COMMANDS, ["replay", "--workdir=w"])
    assert arguments.get("seed") is None
