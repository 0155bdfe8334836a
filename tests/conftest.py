"""Eight virtual CPU devices, so that what must not depend on placement can be placed.

XLA optimises little here: a test compiles for seconds and runs for milliseconds. Processes that
tests start for their bytes or their speed set XLA_FLAGS themselves.
"""

import os
from importlib.metadata import version

# Without these emitters a program is compiled in two thirds of the time; a later XLA has no others.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10.")
)
os.environ["JAX_PLATFORMS"] = "cpu"

import fcntl
import gc
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import pytest

import lepton_jax
from lepton_jax.plots import figures
from lepton_jax.tracking.chain import Basis, split_lines
from lepton_jax.training.checkpoints import Checkpoints
from tests.object_store import ObjectStore, mounted

# Traced programs are many objects that stay; to look at all of them every few thousand new ones
# takes a tenth of the suite's time.
gc.set_threshold(50_000, 20, 100)

ROOT = Path(__file__).parent.parent
RENDER = figures.render_figure


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of the suite share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, shared: Path):
    """The suite leaves nothing in the user's cache, registry and list of keys, and finds none.

    What one process of the suite has compiled, another reads, and so do those that tests start.
    """
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patch.setenv("LEPTON_JAX_CACHE", str(home / "cache"))
    patch.setenv("LEPTON_JAX_REGISTRY", str(home / "registry"))
    patch.setenv("LEPTON_JAX_TRUST", str(home / "trusted_keys.json"))
    patch.delenv("MLFLOW_TRACKING_URI", raising=False)
    patch.setenv("JAX_COMPILATION_CACHE_DIR", str(shared / "compiled"))
    jax.config.update("jax_compilation_cache_dir", str(shared / "compiled"))
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
        patch.setattr(figures, "render_figure", blank)
        yield


@pytest.fixture(scope="session", autouse=True)
def rows_before_checkpoints() -> Iterator[None]:
    """Holds every run of the suite to a law: what a checkpoint stands on is on disk before it."""
    save = Checkpoints.save

    def checked(self: Checkpoints, step: int, tree: Any, bases: Sequence[Basis | None]) -> None:
        file = Path(self._folder).parent / "metrics.jsonl"
        if len(bases) == 1 and bases[0] and (file.parent / "config.json").exists():
            rows = file.read_bytes() if file.exists() else b""
            assert not bases[0].damage(split_lines(rows))
        save(self, step, tree, bases)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", checked)
        yield


@pytest.fixture(scope="session")
def tiny_run(shared: Path) -> Callable[[str], Path]:
    """`tiny_run("digits_cnn")`: the record of a recipe's tiny form, to be read and not written to.

    It is trained once for all processes of the suite, and its figures are rendered.
    """

    def run(name: str) -> Path:
        workdir = shared / "tiny" / name
        workdir.parent.mkdir(exist_ok=True)
        with open(f"{workdir}.lock", "w") as lock, pytest.MonkeyPatch.context() as patch:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (workdir / "status.json").exists():
                patch.setattr(figures, "render_figure", RENDER)
                lepton_jax.train(f"{ROOT}/configs/{name}.py:tiny", str(workdir))
        return workdir

    return run


@pytest.fixture(scope="session")
def tiny_bundle(shared: Path, tiny_run: Callable[[str], Path]) -> Callable[[str], Path]:
    """`tiny_bundle("digits_cnn")`: the bundle of that run, to be read and not written to.

    It is exported once for all processes of the suite.
    """

    def export(name: str) -> Path:
        workdir, folder = tiny_run(name), shared / "tiny_bundles" / name
        folder.parent.mkdir(exist_ok=True)
        with open(f"{folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                lepton_jax.export(str(workdir), str(folder))
        return folder

    return export


@pytest.fixture
def rendered_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renders figures in this test."""
    monkeypatch.setattr(figures, "render_figure", RENDER)


@pytest.fixture
def bucket() -> Iterator[ObjectStore]:
    """`gs://` as a store without append, rename, copy and lock: such calls raise."""
    with mounted() as store:
        yield store
