"""The writers of a run, each on a thread of its own, where it may fail without harm to the run.

A writer that failed is built anew and told the record from its first row: what a resumed run does
as well. It is tried again while the run goes on, ever more seldom, and once more at its end.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol, runtime_checkable

from lepton_jax.config.config import Config
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError, WorkError, describe_error
from lepton_jax.tracking.attachments import Attachments, read_attachments
from lepton_jax.tracking.chain import Row
from lepton_jax.tracking.record import Record

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds before a writer that failed is tried again: the first time, and at most."""
PATIENCE = 60.0
"""Seconds without an answer for which a writer is waited for, at the start and at the end."""

MISTAKES = (
    UserError, ImportError, TypeError, ValueError, LookupError, AttributeError, NameError,
    AssertionError, NotImplementedError, PermissionError, FileNotFoundError, FileExistsError,
    NotADirectoryError, IsADirectoryError,
)  # fmt: skip
"""What a writer that cannot be built raises if a user can mend it. Other errors may pass."""


class Writer(Protocol):
    """What shows the values that were logged at a step."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None: ...


@runtime_checkable
class ClosableWriter(Writer, Protocol):
    """A writer that has work to do when the run ends."""

    def close(self) -> None: ...


@runtime_checkable
class AttachingWriter(Writer, Protocol):
    """A writer that also shows the pictures and tables of a run, at its end."""

    def attach(self, attachments: Attachments) -> None: ...


Attach = Callable[[], Attachments | None]
"""Reads what there is to attach once a run has ended."""


class Views:
    """Several writers, each on a thread of its own, so that the loop never waits for a tool.

    The record and the checkpoints do not depend on views, so an error of a writer is said, and
    nothing is raised once the writers are built.
    """

    def __init__(
        self,
        builders: Mapping[str, Callable[[], Writer]],
        rows: Iterable[Row] = (),
        workdir: str = "",
        attach: Attach = lambda: None,
    ):
        """Builds the writers by their keys, and tells them `rows`: the record so far, rewound.

        `workdir`: where the record is, for messages. `attach`: reads what the writers that can are
        shown after the last row.

        Raises:
          UserError: when one cannot be built by a mistake that its user can mend.
        """
        self._rows = [(r["step"], {k: v for k, v in r.items() if k != "step"}) for r in rows]
        self._views = [
            _View(key, build, self._rows, workdir, attach) for key, build in builders.items()
        ]
        mistakes = [m for view in self._views if (m := view.wait_until_built())]
        if mistakes:
            self.close()
            raise UserError(mistakes[0])

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        self._rows.append((step, dict(values)))
        for view in self._views:
            view.wake()

    def close(self) -> bool:
        """Waits until every row has been shown. Returns whether each writer has shown them."""
        for view in self._views:
            view.end()
        done = [view.wait_until_done() for view in self._views]
        return all(done)


class _View:
    """One writer with its thread, and how far it has come in the rows."""

    def __init__(
        self,
        key: str,
        build: Callable[[], Writer],
        rows: list[tuple[int, dict]],
        workdir: str,
        attach: Attach,
    ):
        self._key, self._build, self._rows = f"writers.{key}", build, rows
        self._workdir, self._attach = workdir, attach
        self._built, self._news, self._ending = (threading.Event() for _ in range(3))
        self._mistake = ""
        self._said = self._done = self._idle = False
        self._sign = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=self._key, daemon=True)
        self._thread.start()

    def wait_until_built(self) -> str:
        """Waits for the writer. Returns the mistake that keeps it from being built, if any."""
        if not self._built.wait(PATIENCE):
            self._say_failure(f"no answer for {PATIENCE:g} s")
        return self._mistake

    def wake(self) -> None:
        """Notes that there is another row. Says so if the writer has hung for long."""
        self._news.set()
        if not self._idle and time.monotonic() - self._sign > PATIENCE:
            self._say_failure(f"no answer for {PATIENCE:g} s")

    def end(self) -> None:
        """Notes that there will be no more rows."""
        self._sign = time.monotonic()
        self._ending.set()
        self._news.set()

    def wait_until_done(self) -> bool:
        """Waits until all rows are shown, as long as the writer gives signs of life."""
        while self._thread.is_alive() and (left := self._sign + PATIENCE - time.monotonic()) > 0:
            self._thread.join(left)
        if self._thread.is_alive():
            self._say_incomplete(f"no answer for {PATIENCE:g} s")
        return self._done

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            last = self._ending.is_set()
            try:
                self._show()
                self._done = True
                break
            except BaseException as e:  # noqa: BLE001  a tool may fail in any way
                if not self._built.is_set() and isinstance(e, MISTAKES):
                    self._mistake = _explain_mistake(self._key, e)
                    break
                reason = _reason(e)
            self._built.set()
            if last:
                self._say_incomplete(reason)
                return
            if not self._ending.is_set():
                self._say_failure(reason)
            self._ending.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._built.set()
        if self._said and self._done:
            say(f"{self._key} has caught up: it shows the whole run")

    def _show(self) -> None:
        """Builds the writer, and shows it every row up to the last."""
        writer = self._build()
        self._built.set()
        shown, ending = 0, False
        while not ending:
            self._news.clear()
            ending = self._ending.is_set()
            while shown < len(self._rows):
                writer(*self._rows[shown])
                shown += 1
                self._sign = time.monotonic()
            if not ending:
                self._idle = True
                self._news.wait()
                self._sign, self._idle = time.monotonic(), False
        if isinstance(writer, AttachingWriter) and (attachments := self._read_attachments()):
            writer.attach(attachments)
        if isinstance(writer, ClosableWriter):
            writer.close()

    def _read_attachments(self) -> Attachments | None:
        try:
            return self._attach()
        except (UserError, WorkError) as e:
            say(f"warning: {self._key} shows no pictures of {self._workdir}: {_reason(e)}")
            return None

    def _say_failure(self, reason: str) -> None:
        if not self._said:
            self._said = True
            say(
                f"warning: {self._key} failed: {reason}\nThe run goes on, and its record is whole. "
                "The writer is tried again, at the latest when the run ends"
            )

    def _say_incomplete(self, reason: str) -> None:
        say(
            f"warning: {self._key} does not show all of {self._workdir}: {reason}\n"
            "The record is whole. To show the rest: "
            + format_command("train", config=f"{self._workdir}/config.json", workdir=self._workdir)
        )


def open_views(config: Config, record: Record) -> Views:
    """Builds the writers of a run's config, and shows them the record so far.

    Raises:
      UserError: as `Views`.
    """
    values = config.to_dict()
    builders = {
        key: partial(writer.build, record.workdir, values) for key, writer in config.writers.items()
    }
    attach = partial(read_attachments, record)
    return Views(builders, record.rows(), record.workdir, attach)


def _explain_mistake(key: str, error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{key} needs the package {error.name.partition('.')[0]!r}, which is not installed"
    return f"{key} cannot be built: {_reason(error)}"


def _reason(error: BaseException) -> str:
    """Returns the first line of an error; with its kind and place where it is not one of ours."""
    if isinstance(error, UserError | WorkError):
        return str(error).partition("\n")[0]
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{describe_error(error)} ({at.filename}:{at.lineno})"
