"""What a run says: the lines with which it begins, and its progress.

    data      digits: train 1,297, valid 143, test 357 examples of 10 classes
    model     cnn, 225,034 parameters (879.04 KiB), for image_classification
    steps     1,219 (30 epochs) of 32 examples on 1 cpu, strategy jit, float32, seed 0
    record    runs/digits

They are said once the run is built: what is wrong with it is told in a line of its own.
"""

import jax

from lepton_jax.console import null_stream
from lepton_jax.data.dataset import Dataset
from lepton_jax.formats import format_bytes
from lepton_jax.tracking.progress import OneOfSeveral, Progress
from lepton_jax.tracking.record import Record
from lepton_jax.training import optimizer
from lepton_jax.training.layout import Layout
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit
from lepton_jax.trees import flatten_tree


def data_line(data: Dataset) -> str:
    """Returns the line on the data, and on what of them was left out."""
    return f"data      {data.summary()}"


def model_line(layout: Layout) -> str:
    """Returns the line on the model and its parameters, and how many of them train if not all."""
    config, leaves = layout.program.config, layout.parameters.values()
    model, task = config.model.name, config.task.name
    count = sum(leaf.size for leaf in leaves)
    size = format_bytes(sum(leaf.size * leaf.dtype.itemsize for leaf in leaves))
    trained = count_trained(layout.program)
    some = "" if trained in (None, count) else f", of which {trained:,} train"
    return f"model     {model}, {count:,} parameters ({size}){some}, for {task}"


def steps_line(layout: Layout) -> str:
    """Returns the line on the steps, the batch and the devices."""
    program, config = layout.program, layout.program.config
    total = program.durations.total_steps
    epochs = total * config.batch_size / program.train_examples
    batch = f"{config.batch_size:,} examples"
    if config.accumulate > 1:
        batch += f" in {config.accumulate} microbatches"
    devices = list(layout.placement.mesh.devices.flat)
    kind = f"{len(devices)} {devices[0].device_kind}"
    if (processes := jax.process_count()) > 1:
        kind += f" in {processes} processes"
    axes = {axis: size for axis, size in layout.placement.mesh.shape.items() if size > 1}
    strategy = " ".join([config.strategy.name, *(f"{a}={n}" for a, n in axes.items())])
    return (
        f"steps     {total:,} ({epochs:.3g} epochs) of {batch} on {kind}, strategy {strategy}, "
        f"{config.precision}, seed {config.seed}"
    )


def record_line(workdir: str) -> str:
    """Returns the line on where the record is."""
    return f"record    {workdir}"


def open_progress(
    program: Program, record: Record, steps: range, heard: bool, among: OneOfSeveral | None
) -> Progress:
    """Opens the line of a run's progress, which knows the rows that the record has already.

    `steps`: those that are left; `heard`: whether it is shown, as of one process of several.
    """
    config = program.config
    progress = Progress(
        steps.stop,
        batch_size=config.batch_size,
        start=steps.start,
        show=("train/loss", config.best.metric, "train/accuracy"),
        best=config.best,
        epochs=steps.stop * config.batch_size / program.train_examples,
        among=among,
        stream=None if heard else null_stream(),
    )
    for row in record.rows():
        progress.remember(row["step"], row)
    return progress


def count_trained(program: Program) -> int | None:
    """Counts the parameters that train; None where the task has a learner of its own."""
    state: State = program.training.abstract_state()
    if not isinstance(state.learner, Fit):
        return None
    params = state.learner.params
    frozen = optimizer.frozen_by_groups(program.config.optimizer, params)
    return sum(leaf.size for name, leaf in flatten_tree(params).items() if name not in frozen)
