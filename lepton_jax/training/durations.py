"""Durations of a config in steps: '500 steps', '10 epochs' and '50_000 examples' are the three."""

from dataclasses import dataclass
from functools import cached_property

from lepton_jax.config.config import Config
from lepton_jax.config.schema import parse_duration
from lepton_jax.config.validation import schedule_durations
from lepton_jax.errors import UserError

MOST_STEPS = 2**31
"""A state counts its steps in int32."""


@dataclass(frozen=True)
class Durations:
    """The durations of a run on `train_examples` examples an epoch.

    Raises:
      UserError: when a duration of the schedule is longer than the run, its points do not rise, or
        the run has more steps than can be counted.
    """

    config: Config
    train_examples: int

    def __post_init__(self) -> None:
        if self.total_steps >= MOST_STEPS:
            raise UserError(
                f"train_for = {self.config.train_for!r} is {self.total_steps:.3g} steps; expected "
                f"less than 2^31"
            )
        if self.config.profile and self.config.profile[0] >= self.total_steps:
            raise UserError(
                f"profile = {self.config.profile}: its first step is none of the run's "
                f"{self.total_steps}, counted from 0"
            )
        for name, value in schedule_durations(self.config):
            if isinstance(value, tuple):
                if sorted(value, key=self.period) != list(value):
                    raise UserError(f"schedule.{name} = {value!r}: expected points in rising order")
            elif self.steps(value) > self.total_steps:
                raise UserError(
                    f"schedule.{name} = {value!r} is {self.steps(value)} steps: longer than the "
                    f"run, train_for = {self.config.train_for!r} is {self.total_steps} steps"
                )

    @cached_property
    def total_steps(self) -> int:
        """The steps of the whole run, `train_for`."""
        return self.steps(self.config.train_for)

    def period(self, duration: str) -> float:
        """Returns a duration in steps, exactly: an epoch need not be a whole number of steps."""
        length, unit = parse_duration(duration)
        examples = {"steps": self.config.batch_size, "epochs": self.train_examples, "examples": 1}[
            unit
        ]
        return length * examples / self.config.batch_size

    def steps(self, duration: str) -> int:
        """Returns a duration in whole steps: at least 1, or 0 for a duration of zero."""
        exact = self.period(duration)
        return max(1, round(exact)) if exact else 0
