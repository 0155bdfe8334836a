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
import io
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from lepton_jax.ablation.report import curves
from lepton_jax.plots import figures
from tests.object_store import ObjectStore, mounted

# Traced programs are many objects that stay; to look at all of them every few thousand new ones
# takes a tenth of the suite's time.
gc.set_threshold(50_000, 20, 100)

RENDER = figures.render_figure


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory):
    """The suite leaves nothing in the user's cache and registry, and finds nothing there.

    What one process of the suite has compiled, another reads, and so do those that tests start.
    """
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("LEPTON_JAX_CACHE", str(home / "cache"))
    patch.setenv("LEPTON_JAX_REGISTRY", str(home / "registry"))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(session / "compiled"))
    jax.config.update("jax_compilation_cache_dir", str(session / "compiled"))
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def blank_figures() -> Iterator[None]:
    """Composes figures and leaves them blank: to render them takes a quarter of a small training.

    `rendered_figures` is for tests of what users see.
    """

    def blank(figure: Any) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        width, height = (round(140 * inches) for inches in figure.get_size_inches())
        Image.new("1", (width, height)).save(buffer, "PNG")
        return buffer.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        for module in (figures, curves):
            patch.setattr(module, "render_figure", blank)
        yield


@pytest.fixture
def rendered_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renders figures in this test."""
    for module in (figures, curves):
        monkeypatch.setattr(module, "render_figure", RENDER)


@pytest.fixture
def bucket() -> Iterator[ObjectStore]:
    """`gs://` as a store without append, rename, copy and lock: such calls raise."""
    with mounted() as store:
        yield store
