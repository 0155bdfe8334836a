"""Weights by name: what export takes out of a state and `init_from` puts into one.

Names are paths such as `conv1.kernel`; parameters and running statistics share one flat dict.
"""

from collections.abc import Container, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from lepton_jax.errors import UserError
from lepton_jax.training import pretrained
from lepton_jax.training.learner import Fit
from lepton_jax.training.program import Program
from lepton_jax.training.state import State, flat, unflat


def named(params: Any, rest: Any) -> dict[str, np.ndarray]:
    """Parameters and running statistics as numpy arrays by name."""
    leaves = flat(params) | flat(rest)
    return {name: np.asarray(jax.device_get(x)) for name, x in leaves.items()}


def read(path: str, program: Program | None = None) -> dict[str, np.ndarray]:
    """The weights in a workdir (its best checkpoint), a checkpoint folder, or a bundle; or, for the
    model of a program, in a folder of Hugging Face.

    Raises:
      UserError: when `path` is none of these, or holds another model than the program's.
    """
    folder = epath.Path(path)
    if program is not None and pretrained.is_pretrained(folder):
        return pretrained.read(folder, program.config.model, *program.shape)
    if (folder / "weights.safetensors").exists():
        from safetensors.numpy import load

        return load((folder / "weights.safetensors").read_bytes())
    from lepton_jax.training import restore

    if (folder / "config.json").exists():
        return restore.stored_weights(path, restore.step_of(path, "best"))
    if folder.name.isdigit() and folder.parent.name == "checkpoints":
        return restore.stored_weights(str(folder.parent.parent), int(folder.name))
    raise UserError(
        f"init_from = {path!r} is no workdir (config.json), checkpoint (checkpoints/STEP), "
        "bundle (weights.safetensors) or folder of Hugging Face (model.safetensors)"
    )


def initialize(
    state: State, weights: Mapping[str, np.ndarray], path: str, keep: Container[str]
) -> tuple[State, str]:
    """The fresh `state` with what matches by name and shape, and a report of what did.

    `keep`: names in `state` that are not to be taken over, such as a dropout rate.

    Raises:
      UserError: when nothing matches, or the task has a step of its own.
    """
    fit = state.learner
    if not isinstance(fit, Fit):
        raise UserError("init_from needs a task with one model; this one has a step of its own")
    whole = flat(fit.params) | flat(fit.rest)
    own = {name: leaf for name, leaf in whole.items() if name not in keep}
    taken, lines = dict(whole), []
    for name, leaf in own.items():
        given = weights.get(name)
        if given is None:
            lines.append(f"  fresh    {name} {leaf.shape}: not there")
        elif given.shape != leaf.shape:
            lines.append(f"  fresh    {name} {leaf.shape}: has shape {given.shape} there")
        else:
            taken[name] = jax.make_array_from_callback(
                leaf.shape, leaf.sharding, given.astype(leaf.dtype).__getitem__
            )
    unused = [name for name in weights if name not in whole]
    lines += [f"  unused   {name} {weights[name].shape}" for name in unused]
    matched = sum(taken[n] is not own[n] for n in own)
    if not matched:
        raise UserError(
            f"init_from = {path!r}: nothing there matches this model.\n" + "\n".join(lines)
        )
    params = unflat(taken, fit.params)
    ema = jax.tree.map(jax.numpy.copy, params) if fit.ema else fit.ema
    learner = Fit(params, unflat(taken, fit.rest), fit.optimizer, ema)
    report = f"init_from {path}: {matched} of {len(own)} arrays taken over"
    return (
        State(state.step, state.seed, state.bad_step, state.hyper, learner),
        "\n".join([report, *lines]),
    )
