"""Downloads data sets with TensorFlow Datasets (TFDS), in a process of its own.

TFDS prepares a set with TensorFlow, which here would print, and take memory of the devices.

    python -m lepton_jax.data.sources.tfds_download cifar10 DATA_DIR
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lepton_jax.console import format_python, say
from lepton_jax.errors import UserError, WorkError, describe_error
from lepton_jax.installation import PACKAGE, format_install
from lepton_jax.io.lock import lock_path

NEEDED = ("tensorflow", "importlib_resources")
"""What TFDS imports when it prepares a set, and does not require."""

RETRIES = 3
"""How often a connection is tried again. TFDS's 10 take three minutes where there is no network."""

_MISTAKE, _FAILURE = 2, 1


def download_set(dataset: str, root: str) -> None:
    """Downloads `dataset` and prepares it as ArrayRecord in the folder `root`. Processes that want
    the same set take turns. The progress goes to stderr.

    Raises:
      UserError: when packages are missing, when TFDS has no such set, or when the set has files
        that TFDS cannot download.
      WorkError: when there is no network, or the work fails otherwise.
    """
    if needs_packages():
        raise UserError(
            f"tfds: to download {dataset!r} the packages {' and '.join(NEEDED)} are needed: "
            + format_install("download")
        )
    where = {"PYTHONPATH": os.pathsep.join([os.path.dirname(PACKAGE), *_python_path()])}
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_MININTERVAL": "1"}
    say(f"downloading {dataset} to {root}")
    with _turn(root):
        done = subprocess.run(
            [sys.executable, "-m", __name__, dataset, root],
            env={**os.environ, **where, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return
    said = done.stdout.strip() or f"its process ended with {done.returncode}"
    kind = UserError if done.returncode == _MISTAKE else WorkError
    raise kind(f"tfds: {dataset!r} was not downloaded: {said}")


def needs_packages() -> bool:
    """Returns whether a package is missing that a download needs."""
    return any(importlib.util.find_spec(name) is None for name in NEEDED)


def format_download(dataset: str, root: str) -> str:
    """Returns the command line that downloads a set by itself."""
    return f"{format_python()} -m {__name__} {dataset} {root}"


def knows_set(dataset: str) -> bool:
    """Returns whether TFDS can prepare a set of this name.

    Without TensorFlow it lists only a half of its sets; the others are known by their files.
    """
    import tensorflow_datasets

    name = _name(dataset)
    if name in tensorflow_datasets.list_builders(with_community_datasets=False):
        return True
    package = Path(tensorflow_datasets.__file__).parent
    return name.isidentifier() and any(package.rglob(f"{name}.py"))


def has_files_by_hand(dataset: str) -> bool:
    """Returns whether the owners of a set hand out its files themselves, as ImageNet's do."""
    import tensorflow_datasets

    with suppress(Exception):  # a builder that cannot be imported without TensorFlow
        return bool(tensorflow_datasets.builder_cls(_name(dataset)).MANUAL_DOWNLOAD_INSTRUCTIONS)
    return False


def _name(dataset: str) -> str:
    return dataset.partition(":")[0].partition("/")[0]


def manual_folder(root: str) -> str:
    """Returns where TFDS looks for files that must be got by hand."""
    return f"{root.rstrip('/')}/downloads/manual"


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


@contextmanager
def _turn(root: str) -> Iterator[None]:
    """Holds the lock of a folder, which is made where it is absent; buckets have none."""
    if "://" in root:
        yield
        return
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make the folder {root}: {e.strerror}") from None
    with lock_path(root, lambda: say(f"waiting for another process that downloads to {root}")):
        yield


def main(dataset: str, root: str) -> None:
    """Downloads a set. Prints what is wrong to stdout, in a line, and exits with 2 or 1."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TFDS prints is progress
    try:
        _prepare(dataset, root)
    except Exception as e:  # noqa: BLE001  builders and networks raise anything
        code, said = _explain(e, root)
        print(said, file=answer, flush=True)
        sys.exit(code)


def _prepare(dataset: str, root: str) -> None:
    import logging

    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    logging.getLogger("urllib3").setLevel(logging.ERROR)
    downloader.MAX_RETRIES = RETRIES
    builder: Any = tfds.builder(dataset, data_dir=root, file_format="array_record")
    # What Google's bucket has ready is of another form.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder.download_and_prepare(download_config=config)


def _explain(error: Exception, root: str) -> tuple[int, str]:
    """Returns the exit code and the sentence for what TFDS raised."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = str(error)
    if "DatasetNotFoundError" in kinds:
        return _MISTAKE, "TFDS has no set of this name"
    if isinstance(error, AssertionError) and "anual" in said:
        told = " ".join(said.split())
        where = manual_folder(root)
        return _MISTAKE, f"some of its files must be put into {where} by hand: {told[:600]}"
    if kinds & {"ConnectionError", "URLError", "Timeout", "gaierror"}:
        host = re.search(r"host='(.+?)'", said)
        whom = f" {host[1]}" if host else ""
        return _FAILURE, (
            f"there is no network here, or it does not reach{whom} ({_cause(said)}). Download it "
            f"on another machine and copy its folder to {root}"
        )
    return _FAILURE, describe_error(error)


def _cause(said: str) -> str:
    """Returns the innermost cause of a connection's failure: `Name or service not known`."""
    causes = re.findall(r"\[Errno -?\d+\] ([^)\"']+)", said)
    return causes[-1] if causes else said.partition("\n")[0][:120]


if __name__ == "__main__":
    main(*sys.argv[1:3])
