"""A run read back from its record: for evaluating, exporting and explaining it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from etils import epath

from lepton_jax.config.config import Config
from lepton_jax.config.user_code import keeping_tracebacks
from lepton_jax.console import format_command, say
from lepton_jax.data.dataset import Dataset
from lepton_jax.errors import UserError
from lepton_jax.tracking.best import best_step
from lepton_jax.tracking.record import Record
from lepton_jax.training import lora, optimizer
from lepton_jax.training.build import build_program
from lepton_jax.training.checkpoint_files import newest_basis
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.program import Program
from lepton_jax.training.recorded_config import read_config as read_config
from lepton_jax.training.state import State
from lepton_jax.trees import flatten_tree, unflatten_tree


@dataclass(frozen=True)
class SavedRun:
    """A run's program, data and state at one of its checkpoints."""

    workdir: str
    record: Record
    config: Config
    data: Dataset
    program: Program
    state: State
    step: int

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """Parameters (averaged, where an average was kept) and running statistics by name."""
        return named_weights(*self.program.training.variables(self.state))

    def forward(self, weights_: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Predicts from raw inputs `[B, ...]`, e.g. `probabilities` [B, K]; pure, to be jitted."""
        params, rest = (
            unflatten_tree(weights_, like) for like in self.program.training.variables(self.state)
        )
        return dict(self.program.inference.predict(params, rest, inputs))


def load_run(workdir: str, checkpoint: str = "best") -> SavedRun:
    """Loads the run in `workdir` at its 'best' or 'last' checkpoint, or at a step.

    Raises:
      UserError: when there is no record, no such checkpoint, or its data is not at hand; or when
        config.json was edited.
      WorkError: when the checkpoint is damaged, or its rows are not those of metrics.jsonl.
    """
    record = _open_checked(workdir)
    config = read_config(workdir)
    step = checkpoint_step(workdir, checkpoint)
    with keeping_tracebacks(workdir):
        data = load_data(config, tokenizer=record.tokenizer_text())
        program = build_program(config, data)
    like = single_device_layout(program).like
    state = Checkpoints(workdir).restore(step, like)["state"]
    return SavedRun(workdir, record, config, data, program, state, step)


def _open_checked(workdir: str) -> Record:
    """Opens a record whose rows are those that its newest checkpoint stands on."""
    record = Record.open(workdir)
    if basis := newest_basis(workdir):
        record.check(basis)
    return record


def checkpoint_step(workdir: str, checkpoint: str) -> int:
    """Returns the step that 'best', 'last' or '1200' stands for.

    Raises:
      UserError: when there is no checkpoint, or none of that step.
      WorkError: when 'last' is asked for and every checkpoint is damaged.
    """
    checkpoints = Checkpoints(workdir)
    steps = checkpoints.steps()
    if not steps:
        raise UserError(f"{workdir}: {_describe_none(workdir)}")
    if checkpoint == "last":
        step = checkpoints.newest_intact(say)
        assert step is not None
        return step
    if checkpoint == "best":
        rows, best = _open_checked(workdir).rows(), read_config(workdir).best
        step, wanted = best_step(best, rows, steps) or steps[-1], best_step(best, rows)
        if wanted is not None and wanted != step:
            say(f"{workdir}: step {wanted} is the best, and has no checkpoint: taking step {step}")
        return step
    if not checkpoint.isdecimal() or int(checkpoint) not in steps:
        raise UserError(
            f"--checkpoint={checkpoint}: expected 'best', 'last' or a step of {workdir}, "
            f"which has {', '.join(map(str, steps))}"
        )
    return int(checkpoint)


def _describe_none(workdir: str) -> str:
    """Says that a run has no checkpoint, and whether it will have one."""
    end = Record.open(workdir, writes=False).status()
    if end.get("state") == "failed":
        return f"that run failed at step {end['step']} and saved no checkpoint"
    return "that run has no checkpoint yet"


def read_weights(path: str) -> dict[str, np.ndarray]:
    """Reads weights by name from a workdir (its best checkpoint), a checkpoint folder or a bundle.

    Raises:
      UserError: when `path` is none of these.
    """
    folder = epath.Path(path)
    if (folder / "weights.safetensors").exists():
        from safetensors.numpy import load

        return load((folder / "weights.safetensors").read_bytes())
    if at := locate_checkpoint(path):
        return checkpoint_weights(*at)
    raise UserError(
        f"init_from = {path!r} is no workdir (config.json), checkpoint (checkpoints/STEP), "
        "bundle (weights.safetensors) or folder of Hugging Face (model.safetensors)"
    )


def locate_checkpoint(path: str) -> tuple[str, int] | None:
    """Returns the workdir and the step of a checkpoint folder, or of a workdir's best checkpoint;
    None where `path` is neither.

    Raises:
      UserError: when the workdir has no checkpoint.
    """
    folder = epath.Path(path)
    if (folder / "config.json").exists():
        if not Checkpoints(path).steps():
            raise UserError(f"init_from = {path!r}: {_describe_none(path)}")
        return path, checkpoint_step(path, "best")
    if folder.name.isdecimal() and folder.parent.name == "checkpoints":
        return str(folder.parent.parent), int(folder.name)
    return None


def checkpoint_weights(workdir: str, step: int) -> dict[str, np.ndarray]:
    """Reads parameters (averaged, where an average was kept) and running statistics by name.

    Raises:
      UserError: when the optimizer's own state is needed to tell which parameters are evaluated.
    """
    config = read_config(workdir)
    leaves = Checkpoints(workdir).arrays(step, "state.learner.")
    averaged = any(name.startswith("ema.") for name in leaves)
    if not averaged and optimizer.evaluates_elsewhere(config.optimizer, leaves):
        raise UserError(
            f"init_from = {workdir!r}: its optimizer {config.optimizer.name} trains other "
            "parameters than it evaluates; export the run "
            f"({format_command('export', workdir=workdir, out='DIR')}) and give the bundle"
        )

    def select(*prefixes: str) -> dict[str, np.ndarray]:
        return {
            k.removeprefix(p): v for p in prefixes for k, v in leaves.items() if k.startswith(p)
        }

    params, section = select("params.", "ema."), config.lora
    if section:  # the average stands in for the parameters
        params = lora.merge_adapters(params, select("frozen."), section.alpha, section.rank)
    return select("rest.") | params


def named_weights(params: Any, rest: Any) -> dict[str, np.ndarray]:
    """Returns parameters and running statistics as numpy arrays by name, `conv1.kernel`."""
    leaves = flatten_tree(params) | flatten_tree(rest)
    return {name: np.asarray(jax.device_get(x)) for name, x in leaves.items()}
