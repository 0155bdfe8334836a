from pathlib import Path

import pytest

from tests import graduation


@pytest.fixture
def bundle(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A verified bundle to do with as one likes."""
    return graduation.copied(graduation.verified_bundle(tmp_path_factory), tmp_path / "bundle")
