"""Of 1,000 mutated bundles and archives none is accepted, none crashes, and none writes outside."""

from pathlib import Path

import pytest

from tests import graduation
from tests.export import mutations, refusals


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory):
    verified = graduation.verified_bundle(tmp_path_factory)
    folder: Path = tmp_path_factory.mktemp("field")
    with pytest.MonkeyPatch.context() as patch, refusals.without_programs():
        patch.setenv("LEPTON_JAX_TRUST", str(folder / "trusted_keys.json"))
        yield refusals.Range(verified, folder)


def assert_refused(found: refusals.Judged) -> None:
    assert found.refused, found
    assert not found.moved, found
    assert found.damaged or found.refused in ("signed", "attested", "verdict"), found
    assert found.said.isprintable() or "\n" in found.said
    assert len(found.said) < 1_000


def test_a_hundred_mutations_are_refused(field):
    for number in refusals.sample(100):
        assert_refused(field.judge(number))


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(10))
def test_a_thousand_mutations_are_refused(field, tenth):
    for number in range(tenth, mutations.COUNT, 10):
        assert_refused(field.judge(number))


def test_the_bundle_itself_is_accepted(field):
    """Without a mutation it comes as far as its program: so the refusals above are of those."""
    with pytest.raises(refusals.Reached):
        refusals.verify_bundle(str(field._bundle), signed=True)
