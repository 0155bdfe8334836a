from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.graduation import verified_bundle
from tests.serving.running import RunningServer, run_bundles


@pytest.fixture(scope="session")
def served_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verified_bundle(tmp_path_factory)


@pytest.fixture(scope="session")
def server(
    served_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server of the digits as model 'digits', for tests that leave it as it is."""
    with run_bundles(tmp_path_factory.mktemp("server"), f"--bundle=digits={served_bundle}") as s:
        yield s
    assert s.process.returncode == 0
