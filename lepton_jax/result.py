"""What a command returns: lines for people, a document for programs, an exit code for shells."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable


class Result(Protocol):
    """What every command returns. The protocols below are what some results have besides."""

    def __str__(self) -> str:
        """Returns what the command line prints; '' for nothing."""
        ...

    def as_json(self) -> Any:
        """Returns what `--json` prints, JSON values only; None for nothing."""
        ...


@runtime_checkable
class JudgedResult(Protocol):
    """A result that may be negative: not `ok` is exit code 1."""

    @property
    def ok(self) -> bool: ...


@runtime_checkable
class StoppableResult(Protocol):
    """A result of work that a signal may stop: the same command goes on with it."""

    @property
    def stopped(self) -> bool: ...


@runtime_checkable
class StreamedResult(Protocol):
    """A result that is shown while it is made."""

    def stream(self) -> Iterator[str]:
        """Yields text to print, before the result itself is printed."""
        ...


@runtime_checkable
class ExitedResult(Protocol):
    """A result of processes that have exited: it has their exit code."""

    @property
    def exit_code(self) -> int: ...


def exit_code_of(result: Result) -> int:
    """Returns the exit code for a command that has returned `result`."""
    if isinstance(result, ExitedResult):
        return result.exit_code
    return 0 if not isinstance(result, JudgedResult) or result.ok else 1


def was_stopped(result: Result | None) -> bool:
    """Returns whether a signal stopped the work; None, of a command that failed, was not."""
    return isinstance(result, StoppableResult) and result.stopped
