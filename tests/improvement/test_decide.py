"""Who takes the place of what is in production, and who does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.errors import UserError
from lepton_jax.improvement.comparison import PairedComparison
from lepton_jax.improvement.decide import decide_promotion
from lepton_jax.improvement.improved import ImprovedModel
from lepton_jax.registry.store import Registry
from lepton_jax.serving import loader
from tests.registry.tiny import tiny_bundle

BETTER = PairedComparison("new", 100, 0.5, 0.9, 0.3, 0.5, 45, 5, 1e-6)
UNSURE = PairedComparison("new", 100, 0.8, 0.85, -0.01, 0.11, 10, 5, 0.3)
SAME = PairedComparison("old", 100, 0.9, 0.9, -0.03, 0.03, 2, 2, 1.0)
WORSE = PairedComparison("old", 100, 0.9, 0.7, -0.3, -0.1, 0, 20, 1e-5)

Decide = Callable[..., ImprovedModel]


def put_into_production(bundle: Path) -> str:
    lepton_jax.promote(bundle=str(bundle), model="digits")
    lepton_jax.promote(model="digits@staging", to="production")
    return loader.bundle_id(bundle)


@pytest.fixture
def decide(registry_root: Path, tmp_path: Path) -> Decide:
    """Decides on a challenger, in the place of a champion that is in production."""
    champion = put_into_production(tiny_bundle(tmp_path / "champion", 0.9))
    tiny_bundle(tmp_path / "work" / "bundle", 0.95)

    def decide(*comparisons: PairedComparison, approver: str = "") -> ImprovedModel:
        return decide_promotion("digits", str(tmp_path / "work"), champion, comparisons, approver)

    return decide


def in_production() -> int | None:
    return Registry().aliases("digits").get("production")


def test_better_one_is_registered_and_waits_for_a_person(decide: Decide):
    found = decide(SAME, BETTER)
    assert (found.outcome, found.version, found.ok) == ("registered", "digits/2", True)
    assert in_production() == 1
    assert "--approver=NAME" in str(found)
    assert decide(SAME, BETTER, approver="alice").outcome == "promoted"
    assert in_production() == 2
    events = [e for e in Registry().events("digits") if e.get("version") == 2]
    assert {e["by"] for e in events} == {"alice"}
    again = decide(SAME, BETTER, approver="bob")
    assert (again.outcome, again.approver) == ("promoted", "alice")
    assert len([e for e in Registry().events("digits") if e.get("version") == 2]) == len(events)


@pytest.mark.parametrize(
    ("comparisons", "why"),
    [((SAME, UNSURE), "not better on the new data"), ((WORSE, BETTER), "worse on the old data")],
)
def test_one_that_is_not_better_or_forgot_what_it_knew_is_refused(
    decide: Decide, comparisons: tuple[PairedComparison, ...], why: str
):
    found = decide(*comparisons, approver="alice")
    assert (found.outcome, found.ok) == ("refused", False)
    assert why in str(found)
    assert in_production() == 1
    assert len(Registry().versions("digits")) == 1


def test_no_approver_passes_over_the_gate(decide: Decide):
    lepton_jax.registry(["gate"], model="digits", require="test/accuracy>=0.99")
    found = decide(SAME, BETTER, approver="alice")
    assert found.outcome == "refused"
    assert "0.95" in str(found)
    assert in_production() == 1


def test_challenger_of_a_champion_of_the_past_is_refused(decide: Decide, tmp_path: Path):
    put_into_production(tiny_bundle(tmp_path / "other", 0.97))
    found = decide(SAME, BETTER, approver="alice")
    assert found.outcome == "refused"
    assert "production moved to digits/2" in str(found)
    assert in_production() == 2


def test_what_is_missing_is_said_before_anything_is_made(registry_root: Path, tmp_path: Path):
    place, kept = tmp_path / "work", tmp_path / "kept"
    with pytest.raises(UserError, match="there is no such folder"):
        lepton_jax.improve(model="digits", requests=kept, workdir=place)
    kept.mkdir()
    with pytest.raises(UserError, match="digits"):
        lepton_jax.improve(model="digits", requests=kept, workdir=place)
    lepton_jax.promote(bundle=str(tiny_bundle(tmp_path / "champion")), model="digits")
    with pytest.raises(UserError, match="nothing in production"):
        lepton_jax.improve(model="digits", requests=kept, workdir=place)
    lepton_jax.promote(model="digits@staging", to="production")
    with pytest.raises(UserError, match=r"numbers, .*task 'classification'"):
        lepton_jax.improve(model="digits", requests=kept, workdir=place)
    with pytest.raises(UserError, match="holds no request"):
        lepton_jax.improve(workdir=place)
    with pytest.raises(UserError, match="retrain_request"):
        lepton_jax.improve(request=tmp_path / "absent.json", workdir=place)
    assert not place.exists()


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ({"answer": "objects"}, "digits/1 answers with objects"),
        ({"answer": "class", "text": {"size": 8}}, "digits/1 reads texts"),
    ],
)
def test_a_model_that_cannot_be_improved_is_refused_at_once_by_its_kind(
    registry_root: Path, tmp_path: Path, signature: dict[str, object], words: str
):
    put_into_production(tiny_bundle(tmp_path / "champion", **signature))
    (kept := tmp_path / "kept").mkdir()
    with pytest.raises(UserError, match=rf"{words}.*expected a model of the task 'classification'"):
        lepton_jax.improve(model="digits", requests=kept, workdir=tmp_path / "work")
    assert not (tmp_path / "work").exists()
