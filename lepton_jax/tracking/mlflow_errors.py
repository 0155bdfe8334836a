"""What MLflow and its database raise, as one sentence that says what helps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lepton_jax.errors import UserError, WorkError

ELSEWHERE = "or set LEPTON_JAX_REGISTRY to another folder"
ANEW = (
    "Put a backup in its place, or move it away and register the bundles again "
    "(the copies of all lie in {folder}/artifacts)"
)

_KNOWN: tuple[tuple[str, type[Exception], str], ...] = (
    (
        r"database is locked|database table is locked",
        WorkError,
        "{store} is locked by another process; try again when that process is done "
        "(find it: fuser {path})",
    ),
    (
        r"database or disk is full|No space left",
        WorkError,
        "{store} cannot be written: the disk is full; make room, then run the same command again",
    ),
    (
        r"readonly database|read-only",
        UserError,
        "{store} cannot be written by this user; ask its owner, " + ELSEWHERE,
    ),
    (
        r"Permission denied",
        UserError,
        "{store} cannot be opened by this user ({reason}); ask its owner, " + ELSEWHERE,
    ),
    (
        r"disk I/O error",
        WorkError,
        "{store} cannot be read or written: disk I/O error. Look at the disk (is it full?), then "
        "run the same command again",
    ),
    (
        r"unable to open database file",
        UserError,
        "{store} cannot be opened: its folder is missing or not this user's; mend that, "
        + ELSEWHERE,
    ),
    (
        r"malformed|not a database|file is encrypted",
        WorkError,
        "{store} is damaged: {reason}. " + ANEW,
    ),
    (
        r"Can't locate revision",
        WorkError,
        "{store} was made by a newer MLflow than the one here: upgrade mlflow-skinny, " + ELSEWHERE,
    ),
    (
        r"out-of-date database schema|no such (table|column)|duplicate column"
        r"|table .* already exists|migration in unexpected state",
        WorkError,
        "{store} was made by another MLflow, or left between two versions of it: {reason}. "
        "Copy it, then run: mlflow db upgrade {uri}\n" + ANEW,
    ),
    (
        r"error code 401|UNAUTHENTICATED|error code 403|PERMISSION_DENIED",
        UserError,
        "{store} refuses access ({reason}); set MLFLOW_TRACKING_TOKEN, or "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    (
        r"error code 404|ENDPOINT_NOT_FOUND|not in a valid JSON|JSONDecodeError",
        UserError,
        "{store} does not answer as an MLflow server does ({reason}); expected its address, e.g. "
        "http://HOST:5000, in MLFLOW_TRACKING_URI",
    ),
    (
        r"unsupported URI|Could not parse SQLAlchemy URL|Can't load plugin|maintenance mode",
        UserError,
        "{store} is no address of an MLflow store: expected e.g. http://HOST:5000 or "
        "sqlite:////FOLDER/mlflow.db in MLFLOW_TRACKING_URI",
    ),
)

_CAUSES = (
    "Connection refused", "timed out", "Name or service not known", "Failed to resolve",
    "Temporary failure in name resolution", "reset by peer", "Network is unreachable",
    "No route to host", "certificate verify failed", "Connection aborted", "No host supplied",
)  # fmt: skip
"""What urllib3 says last in a long chain."""


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """Turns whatever MLflow raises in a `with` block into one sentence about the store at `uri`.

    Raises:
      UserError: when the address, the access or an installed package is the mistake.
      WorkError: for everything else.
    """
    try:
        yield
    except (UserError, WorkError):
        raise
    except Exception as e:
        raise explain_mlflow_error(e, uri) from e


def is_missing(error: BaseException) -> bool:
    """Tells whether MLflow says that a run, a version or an experiment is not there."""
    return getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST"


def is_taken(error: BaseException) -> bool:
    """Tells whether MLflow says that something of that name is there already."""
    return getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS"


def explain_mlflow_error(error: Exception, uri: str) -> UserError | WorkError:
    """Returns the sentence about an error of the store at `uri`, to be raised."""
    text = without_password(str(error).strip())
    reason = _shorten(text) or type(error).__name__
    store, path = name_of_store(uri), database_of(uri)
    if isinstance(error, ModuleNotFoundError):
        return UserError(f"{store} needs the package {error.name!r}: pip install it")
    said = f"{type(error).__name__} {getattr(error, 'error_code', '')} {text}"
    for pattern, kind, sentence in _KNOWN:
        if re.search(pattern, said):
            folder = path.parent if path else ""
            facts = {"store": store, "path": path or "", "folder": folder, "reason": reason}
            return kind(sentence.format(**facts, uri=without_password(uri)))  # type: ignore[return-value]
    for cause in _CAUSES:
        if cause in text:
            return WorkError(f"{store} cannot be reached: {cause}")
    return WorkError(f"{store} failed: {reason}")


def name_of_store(uri: str) -> str:
    """Returns what messages call the store at `uri`."""
    path = database_of(uri)
    return f"the database {path}" if path else f"MLflow at {without_password(uri)}"


def without_password(text: str) -> str:
    """Leaves out the 'user:password@' of every address in a text."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def database_of(uri: str) -> Path | None:
    """Returns the file of a SQLite store; None for a server, and for a store in memory."""
    if not uri.startswith("sqlite:///") or ":memory:" in uri:
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def _shorten(text: str) -> str:
    """Returns the first line of an error, without SQL and without the body of an answer."""
    if answer := re.search(r"error code (\d{3})|too many (\d{3}) error responses", text):
        return f"it answers {answer[1] or answer[2]}"
    first = (text.splitlines() or [""])[0]
    first = re.sub(r"^\(sqlite3\.\w+\) ", "", first)
    return re.split(r"\. Response body: | \[SQL: | Take a backup", first)[0][:200].rstrip(". ")
