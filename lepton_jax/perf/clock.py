"""Where the loop's wall time goes: waiting for data, dispatching, waiting for the device ..."""

from time import perf_counter
from types import TracebackType


class Clock:
    """Adds up seconds by what they were spent on, an interval at a time. Spans do not nest.

    with clock("data"):
        batch = next(batches)
    clock.read(step)    # {'steps_per_second': 12.0, 'seconds': 4.1, 'seconds/data': 0.1, ...}
    """

    def __init__(self, step: int):
        self._spent: dict[str, float] = {}
        self._step = step
        self._began = self._entered = perf_counter()
        self._what = ""

    def __call__(self, what: str) -> "Clock":
        self._what = what
        return self

    def __enter__(self) -> None:
        self._entered = perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        spent = perf_counter() - self._entered
        self._spent[self._what] = self._spent.get(self._what, 0.0) + spent

    def read(self, step: int) -> dict[str, float]:
        """Returns the seconds of the interval that ends now, and starts the next one.

        `steps_per_second` leaves out evaluating and saving, which are no training.
        """
        now = perf_counter()
        seconds = max(now - self._began, 1e-9)
        aside = self._spent.get("evaluate", 0.0) + self._spent.get("checkpoint", 0.0)
        row = {"steps_per_second": (step - self._step) / max(seconds - aside, 1e-9)}
        row["seconds"] = seconds
        row |= {f"seconds/{what}": spent for what, spent in self._spent.items()}
        self._spent, self._step, self._began = {}, step, now
        return row
