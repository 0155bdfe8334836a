"""What the writers have in common: rows are sent in batches, and none is sent twice."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError, describe_error
from lepton_jax.io import files
from lepton_jax.tracking.attachments import Attachments


class BatchedWriter(ABC):
    """A writer that collects rows which have not been shown, and sends them a batch at a time."""

    seconds = 5.0
    """Between two batches: tools take one batch far faster than its rows one by one."""

    def __init__(self, *, since: int = 0, shown: Mapping[str, int] | None = None):
        """Skips steps before `since`, and of each metric the steps up to the one in `shown`."""
        self._since, self._shown = since, dict(shown or {})
        self._rows: list[tuple[int, dict[str, float]]] = []
        self._sent = time.monotonic()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        new = {k: v for k, v in values.items() if step > self._shown.get(k, self._since - 1)}
        if new:
            self._shown.update(dict.fromkeys(new, step))
            self._rows.append((step, new))
        if time.monotonic() - self._sent >= self.seconds:
            self.flush()

    def flush(self) -> None:
        """Sends the rows that have been collected."""
        rows, self._rows = self._rows, []
        if rows:
            self.send(rows)
        self._sent = time.monotonic()

    @abstractmethod
    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        """Shows rows `(step, values)`, the earliest first."""

    def attach(self, attachments: Attachments) -> None:
        """Sends what is left, then pictures and tables. If the tool takes none of these, that is
        said: the view of the numbers is whole without them.
        """
        self.flush()
        try:
            self.send_attachments(attachments)
        except Exception as e:  # noqa: BLE001  a tool may fail in any way
            ours = isinstance(e, UserError | WorkError)
            reason = str(e).partition("\n")[0] if ours else describe_error(e)
            say(f"warning: {type(self).__name__} does not show the pictures of the run: {reason}")

    @abstractmethod
    def send_attachments(self, attachments: Attachments) -> None:
        """Shows the pictures and tables of the record."""

    def close(self) -> None:
        """Sends what is left, and lets go of the tool."""
        self.flush()


def read_note(path: str, *keys: str) -> dict[str, Any]:
    """Reads the small file in a workdir that names its run in a tracker; {} if it names none."""
    if not files.exists(path):
        return {}
    form: dict[str, Any] = dict.fromkeys(keys, str)
    try:
        return files.read_object(path, **form)
    except WorkError:
        say(f"warning: {path} is damaged: the whole record is shown as a new run")
        return {}
