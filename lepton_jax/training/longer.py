"""A run that goes on beyond where it was to end: which steps are left, at which rate."""

import math

from lepton_jax.config.config import Config
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.tracking.early_stopping import early_stop
from lepton_jax.tracking.record import Record
from lepton_jax.training import saved
from lepton_jax.training.checkpoint_files import list_steps
from lepton_jax.training.durations import Durations
from lepton_jax.training.program import Program
from lepton_jax.training.schedules import build_schedule


def check_longer(workdir: str, program: Program, stretch: bool) -> None:
    """Checks that the run in `workdir` can go on as `program`, of another length perhaps.

    Raises:
      UserError: as `compare_lengths`; or when early stopping leaves no step to go on with.
    """
    done = max(list_steps(workdir), default=0)
    old = saved.read_config(workdir)
    new = program.config
    compare_lengths(old, new, program.train_examples, done, stretch, workdir)
    same_end = (old.early_stopping, old.train_for) == (new.early_stopping, new.train_for)
    if same_end or new.early_stopping is None:
        return
    ended = early_stop(new, Record.open(workdir).rows(), program.durations.total_steps)
    if ended and ended.step < done:
        raise UserError(
            f"the run in {workdir} has taken {done} steps, and early_stopping would have ended it "
            f"at step {ended.step}; expected a larger patience, or another --workdir"
        )
    if ended:
        raise UserError(
            f"the run in {workdir} {ended}; it goes on with a larger "
            "--config.early_stopping.patience or with --config.early_stopping=None"
        )


def compare_lengths(
    old: Config, new: Config, train_examples: int, done: int, stretch: bool, workdir: str
) -> None:
    """Checks that a run of `done` steps can go on with another `train_for`.

    Most schedules are drawn over the whole length of a run. With another length the learning rate
    would jump, which has to be asked for: `stretch`. Then the jump is said.

    Raises:
      UserError: when there are fewer steps than were taken, or the rate would jump.
    """
    if old.train_for == new.train_for or not done:
        return
    before, after = Durations(old, train_examples), Durations(new, train_examples)
    if after.total_steps < done:
        raise UserError(
            f"train_for = {new.train_for!r} is {after.total_steps} steps, but the run in {workdir} "
            f"has taken {done}; expected more, or choose another --workdir"
        )
    if after.total_steps == done:
        return
    last, planned = (learning_rate(old, before, step) for step in (done - 1, done))
    rate = learning_rate(new, after, done)
    if math.isclose(rate, planned, rel_tol=1e-6, abs_tol=1e-12):
        return
    jump = f"from {last:.3g} to {rate:.3g} at step {done}"
    if stretch:
        say(
            f"--stretch: the learning rate goes {jump}, as schedule {new.schedule.name} is drawn "
            f"over {after.total_steps} steps instead of {before.total_steps}"
        )
        return
    raise UserError(
        f"--longer: the learning rate would go {jump}: schedule {new.schedule.name} would be drawn "
        f"over {after.total_steps} steps instead of {before.total_steps}.\n"
        "--stretch in place of --longer goes on so. For a constant rate begin another run: "
        f"--workdir=NEW --config.init_from={workdir}/checkpoints/{done}\n"
        f"--config.schedule.name=constant --config.optimizer.learning_rate={last:.3g}"
    )


def learning_rate(config: Config, durations: Durations, step: int) -> float:
    """Returns the learning rate of the step that follows `step` steps."""
    schedule = build_schedule(config.schedule, durations)
    return config.optimizer.learning_rate * float(schedule(step))
