"""Of 200 altered and forged records and statements each is found."""

import shutil
from pathlib import Path

import pytest

import lepton_jax
from lepton_jax.replay.replayer import Replayer
from lepton_jax.signing.keys import make_key_pair
from lepton_jax.signing.signer import sign_folder
from lepton_jax.signing.trust import add_key
from tests.replay import alterations

pytestmark = pytest.mark.slow


class Field:
    """A run and its bundle, which alice has signed."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._replayers: dict[str, Replayer] = {}
        lepton_jax.train(alterations.CONFIG, str(folder / "run"))
        lepton_jax.export(str(folder / "run"), str(folder / "bundle"), checkpoint="last")
        self._alice = make_key_pair(str(folder / "alice.pem"))
        self._mallory = make_key_pair(str(folder / "mallory.pem"))
        add_key(self._alice.public, "alice")
        sign_folder(folder / "bundle", self._alice.private)

    def judge(self, number: int) -> str:
        """Alters a copy; returns what was found."""
        place = self.folder / str(number)
        try:
            if alterations.kind_of(number) in alterations.STATEMENTS:
                bundle = shutil.copytree(self.folder / "bundle", place / "bundle")
                return alterations.judge_statement(number, bundle, self._alice, self._mallory)
            workdir = shutil.copytree(self.folder / "run", place / "run")
            return alterations.judge_record(number, workdir, self._replayers).replace(
                str(place), ""
            )
        finally:
            shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("field")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_JAX_TRUST", str(folder / "trusted_keys.json"))
        yield Field(folder)


def test_two_hundred_are_found(field):
    missed = [n for n in range(alterations.COUNT) if not field.judge(n)]
    assert not missed, [(n, alterations.kind_of(n)) for n in missed]
