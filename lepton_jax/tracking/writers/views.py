"""The writers of a run, called on a thread of their own."""

import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from lepton_jax.config.config import Config
from lepton_jax.tracking.record import Record, Row


class Writer(Protocol):
    """What shows the values that were logged at a step."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None: ...


@runtime_checkable
class ClosableWriter(Writer, Protocol):
    """A writer that has work to do when the run ends."""

    def close(self) -> None: ...


class Views:
    """Several writers on a thread of their own, so that the loop never waits for a tool.

    An error of a writer is raised by the next call, or by `close`. The record and the checkpoints
    do not depend on views: after a restart they catch up.
    """

    def __init__(self, writers: Sequence[Writer], rows: Iterable[Row] = ()):
        """Starts the thread, and tells the writers `rows`: the record so far, rewound."""
        self._writers = writers
        self._rows: queue.SimpleQueue[tuple[int, Mapping[str, float]] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        for row in rows:
            self._rows.put((row["step"], {k: v for k, v in row.items() if k != "step"}))
        self._thread = threading.Thread(target=self._run, name="writers", daemon=True)
        self._thread.start()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        self._raise()
        self._rows.put((step, dict(values)))

    def close(self) -> None:
        """Returns when every row has been shown."""
        self._rows.put(None)
        self._thread.join()
        self._raise()

    def _run(self) -> None:
        try:
            while (row := self._rows.get()) is not None:
                for writer in self._writers:
                    writer(*row)
            for writer in self._writers:
                if isinstance(writer, ClosableWriter):
                    writer.close()
        except BaseException as e:  # noqa: BLE001  (handed to the thread that asked)
            self._error = e

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def open_views(config: Config, record: Record) -> Views:
    """Builds the writers of a run's config, and shows them the record so far."""
    chosen = config.writers.values()
    writers = [writer.build(record.workdir, config.to_dict()) for writer in chosen]
    return Views(writers, record.rows())
