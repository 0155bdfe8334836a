"""Eight virtual CPU devices, so that what must not depend on placement can be placed.

XLA optimises nothing here: a test compiles for seconds and runs for milliseconds. Processes that
tests start for their bytes or their speed set XLA_FLAGS themselves.
"""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"

import gc
from collections.abc import Iterator

import pytest

from tests.object_store import ObjectStore, mounted

# Traced programs are many objects that stay; to look at all of them every few thousand new ones
# takes a tenth of the suite's time.
gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory):
    """The suite leaves nothing in the user's cache and registry, and finds nothing there."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("LEPTON_JAX_CACHE", str(home / "cache"))
    patch.setenv("LEPTON_JAX_REGISTRY", str(home / "registry"))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    patch.undo()


@pytest.fixture
def bucket() -> Iterator[ObjectStore]:
    """`gs://` as a store without append, rename, copy and lock: such calls raise."""
    with mounted() as store:
        yield store
