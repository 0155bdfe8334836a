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
from lepton_jax.tracking.provenance import say_placement
from lepton_jax.tracking.record import Record
from lepton_jax.training import optimizer
from lepton_jax.training.layout import Layout
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit
from lepton_jax.trees import flatten_tree


def start_lines(data: Dataset, layout: Layout) -> list[str]:
    """Returns the lines on a run that is built, before it has a record."""
    lines = [data_line(data), model_line(layout), steps_line(layout)]
    return [*lines, *idle_devices_note(layout)]


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
    placement = say_placement(layout.placement.as_json())
    return (
        f"steps     {total:,} ({epochs:.3g} epochs) of {batch} on {placement}, "
        f"{config.precision}, seed {config.seed}"
    )


def idle_devices_note(layout: Layout) -> list[str]:
    """Says that the strategy jit leaves devices idle, and how to use them; nothing otherwise.

    It names as many devices as the batch divides over.
    """
    visible, config = jax.device_count(), layout.program.config
    if config.strategy.name != "jit" or visible == 1:
        return []
    shared = config.batch_size // config.accumulate
    most = max(n for n in range(1, visible + 1) if shared % n == 0)
    if most == 1:
        cure = f"a batch_size that is a multiple of {visible} lets --config.strategy.name=pmap "
        cure += "use all of them"
    elif most == visible:
        cure = "all of them: --config.strategy.name=pmap"
    else:
        flag = f"--config.strategy.name=pmap --config.strategy.devices_used={most}"
        cure = f"{most} of them, over which the batch divides: {flag}"
    return [f"note: strategy jit uses 1 of {visible} devices; {cure}"]


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
