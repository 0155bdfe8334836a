"""What a run may do and hardly anyone wants: said before its first step, so that no number is a
surprise.
"""

import math
from collections.abc import Iterator

import numpy as np

from lepton_jax.config.usual_mode import usual_mode
from lepton_jax.data.labels import absent_class_warnings
from lepton_jax.data.source import labels_of
from lepton_jax.data.spec import DataSpec
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.lines import count_trained
from lepton_jax.training.misnamed import misnamed_methods
from lepton_jax.training.other_classes import warn_of_other_classes
from lepton_jax.training.program import Program
from lepton_jax.training.schedules import build_schedule
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit
from lepton_jax.trees import flatten_tree

LOOKED_AT = 50
"""Steps of a run at which its learning rate is looked at, the first and the last among them."""

FEW = 50
"""With fewer examples of 'valid' an accuracy moves in steps of more than 2 %."""

SHORT = 10
"""A run of fewer steps only tries out whether all works; nobody looks at its curves."""


def find_doubts(built: BuiltRun) -> list[str]:
    """Lists sentences about what a built run would do; most runs have none."""
    data, program = built.data, built.program
    return [
        *absent_class_warnings(data.splits, data.spec.classes),
        *warn_of_other_classes(program),
        *_of_images(data.spec),
        *misnamed_methods(program.config),
        *_of_best(program),
        *_of_few_examples(built),
        *_of_rows(program),
        *_of_early_stopping(program),
        *_of_rates(program),
        *_of_batches(program),
    ]


def _of_images(spec: DataSpec) -> Iterator[str]:
    image = spec.fields.get("image")
    if image is not None and len(image.shape) == 3 and image.shape[0] in (1, 3):
        channels = image.shape[2]
        if channels > 4 and channels == image.shape[1]:
            yield (
                f"images {list(image.shape)} have {channels} channels: an image is [height, width, "
                "channels], not [channels, height, width] (images.transpose(0, 2, 3, 1))"
            )


def _of_best(program: Program) -> Iterator[str]:
    best = program.config.best
    mode = usual_mode(best.metric)
    if mode and mode != best.mode:
        yield (
            f"best.metric = {best.metric!r} with best.mode = {best.mode!r} takes the worst "
            f"checkpoint for the best; did you mean --config.best.mode={mode}?"
        )


def _of_few_examples(built: BuiltRun) -> Iterator[str]:
    valid = built.data.splits.get("valid")
    if valid is None or labels_of(valid) is None:  # tokens and boxes are many in an example
        return
    if built.program.config.best.metric == "valid/accuracy" and 0 < len(valid) < FEW:
        yield (
            f"valid has {len(valid)} example{'s' * (len(valid) > 1)}: best by valid/accuracy moves "
            f"in steps of {100 / len(valid):.0f} %; the loss tells more: "
            "--config.best.metric=valid/loss --config.best.mode=min"
        )


def _of_rows(program: Program) -> Iterator[str]:
    config, durations = program.config, program.durations
    total = durations.total_steps
    if total >= SHORT and durations.period(config.log_every) >= total:
        yield (
            f"log_every = {config.log_every!r} is no shorter than the run of {total} steps: there "
            f"is no row of training metrics before the end; a tenth of the run: "
            f"--config.log_every='{max(1, total // 10)} steps'"
        )


def _of_early_stopping(program: Program) -> Iterator[str]:
    config, durations = program.config, program.durations
    if config.early_stopping:
        patience = config.early_stopping.patience
        evaluations = durations.total_steps / max(durations.period(config.evaluate_every), 1.0)
        if patience >= evaluations:
            yield (
                f"early_stopping.patience = {patience} evaluations never pass: the run of "
                f"{durations.total_steps} steps has {math.ceil(evaluations)}, one every "
                f"{config.evaluate_every}"
            )


def _of_rates(program: Program) -> Iterator[str]:
    config, durations = program.config, program.durations
    total = durations.total_steps
    shape = build_schedule(config.schedule, durations)
    steps = np.unique(np.linspace(0, total - 1, LOOKED_AT).astype(int))
    if config.optimizer.learning_rate == 0 or not any(float(shape(int(step))) for step in steps):
        yield f"the learning rate is 0 at all {total} steps: nothing trains"
    elif count_trained(program) == 0:
        yield "optimizer.groups freezes every parameter: nothing trains"
    for name, values in config.schedule.keys.items():
        for value in values if isinstance(values, tuple) else ():
            if isinstance(value, str) and durations.steps(value) >= total:
                yield (
                    f"schedule.{name}: {value!r} is step {durations.steps(value)}, which the run "
                    f"of {total} steps does not reach"
                )


def _of_batches(program: Program) -> Iterator[str]:
    config = program.config
    if config.batch_size > program.train_examples:
        yield (
            f"batch_size = {config.batch_size} is more than the {program.train_examples} training "
            "examples: every batch holds some of them several times"
        )
    state: State = program.training.abstract_state()
    if isinstance(state.learner, Fit) and config.batch_size == config.accumulate:
        running = [n for n in flatten_tree(state.learner.rest) if n.endswith((".mean", ".var"))]
        if running:
            each = "microbatch" if config.accumulate > 1 else "batch"
            yield (
                f"each {each} holds one example, of which alone BatchNorm "
                f"({running[0].rpartition('.')[0]}) takes mean and variance"
            )
