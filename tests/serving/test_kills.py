"""A server that is killed under load, and started again by a supervisor."""

import os
from pathlib import Path

import numpy as np
import pytest

from lepton_jax.serving.observed.requests import KeptRequests
from tests.graduation import verified_bundle
from tests.serving.kills import survive_kills

KILLS = int(os.environ.get("LEPTON_JAX_TEST_KILLS") or 6)


@pytest.mark.slow
def test_clients_that_ask_again_lose_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    kept = KeptRequests(tmp_path / "kept")
    load, seconds = survive_kills(verified_bundle(tmp_path_factory), kept.folder, KILLS)
    assert len(seconds) == KILLS
    assert load.answered >= KILLS
    assert load.retried
    assert not load.wrong
    requests = [kept.read(file) for file in kept]
    assert len({r.outputs["probabilities"].tobytes() for r in requests}) == 1
    # By the clock it depends on what else the machine does.
    assert np.median([processor for _, processor in seconds]) < 2
