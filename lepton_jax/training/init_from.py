"""Weights by name: what export takes out of a state and `init_from` puts into one.

Names are paths such as `conv1.kernel`; parameters and running statistics share one flat dict.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from lepton_jax.data.text.tokenizer import Tokenizer
from lepton_jax.data.text.vocabulary import Vocabulary
from lepton_jax.errors import UserError
from lepton_jax.training import lora
from lepton_jax.training.learner import Fit
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.trees import flatten_tree, unflatten_tree


def named(params: Any, rest: Any) -> dict[str, np.ndarray]:
    """Parameters and running statistics as numpy arrays by name."""
    leaves = flatten_tree(params) | flatten_tree(rest)
    return {name: np.asarray(jax.device_get(x)) for name, x in leaves.items()}


def read(path: str, program: Program | None = None) -> dict[str, np.ndarray]:
    """The weights in a workdir (its best checkpoint), a checkpoint folder, or a bundle; or, for the
    model of a program, in a folder of Hugging Face.

    Raises:
      UserError: when `path` is none of these, or holds another model than the program's.
    """
    folder = epath.Path(path)
    if program is not None and folder.is_pretrained(folder):
        return folder.read(folder, program.config.model, *program.shape)
    if (folder / "weights.safetensors").exists():
        from safetensors.numpy import load

        return load((folder / "weights.safetensors").read_bytes())
    from lepton_jax.training import saved

    if (folder / "config.json").exists():
        return saved.stored_weights(path, saved.step_of(path, "best"))
    if folder.name.isdigit() and folder.parent.name == "checkpoints":
        return saved.stored_weights(str(folder.parent.parent), int(folder.name))
    raise UserError(
        f"init_from = {path!r} is no workdir (config.json), checkpoint (checkpoints/STEP), "
        "bundle (weights.safetensors) or folder of Hugging Face (model.safetensors)"
    )


def check_vocabulary(path: str, own: Vocabulary | None) -> None:
    """Raises `UserError` when the weights in `path` were trained on other tokens than our `own`."""
    folder = epath.Path(path)
    if folder.parent.name == "checkpoints":
        folder = folder.parent.parent
    file = folder / "tokenizer.json"
    if own is None or not file.exists():
        return
    there = Tokenizer(file.read_text(), str(file)).vocabulary.tokens
    if there != own.tokens:
        raise UserError(
            f"init_from = {path!r}: its weights are for {len(there)} tokens, which are not the "
            f"{len(own)} of this run's tokenizer; expected data.tokenizer = "
            f"{{'name': 'pretrained', 'path': {str(file)!r}}}"
        )


class Beginning:
    """What a config's `init_from` and `lora.init_from` bring to fresh states; they are read once.

    Raises:
      UserError: when there is nothing such to read, or it is of another model.
    """

    def __init__(self, program: Program):
        config = program.config
        self._program = program
        self._weights = None
        if config.init_from:
            check_vocabulary(config.init_from, program.spec.vocabulary)
            self._weights = read(config.init_from, program)
        file = config.lora.init_from if config.lora else ""
        self._adapters = lora.read(file) if file else None

    def __call__(self, state: State) -> tuple[State, str]:
        """The fresh `state` with what matches by name and shape, and a report of what did.

        Raises:
          UserError: when nothing matches, `lora` freezes what nothing brought, or the task has a
            step of its own.
        """
        if self._weights is None and self._adapters is None:
            return state, ""
        fit = state.learner
        if not isinstance(fit, Fit):
            raise UserError("init_from needs a task with one model; this one has a step of its own")
        whole = flatten_tree(fit.params) | flatten_tree(fit.frozen) | flatten_tree(fit.rest)
        found: dict[str, np.ndarray] = {}
        lines: list[str] = []
        if self._weights is not None:
            found, lines = self._matching(self._weights, whole, fit)
        if self._adapters is not None:
            own, alpha = flatten_tree(fit.params), float(state.hyper["lora"]["alpha"])
            found |= lora.fitting(self._adapters, own, alpha)
            lines.append(f"lora.init_from: {len(own)} arrays taken over")
        taken = whole | {name: _placed(x, whole[name]) for name, x in found.items()}
        params = unflatten_tree(taken, fit.params)
        ema = jax.tree.map(jax.numpy.copy, params) if fit.ema else fit.ema
        frozen, rest = unflatten_tree(taken, fit.frozen), unflatten_tree(taken, fit.rest)
        learner = dataclasses.replace(fit, params=params, rest=rest, ema=ema, frozen=frozen)
        return (
            State(state.step, state.seed, state.bad_step, state.hyper, learner),
            "\n".join(lines),
        )

    def _matching(
        self, weights: Mapping[str, np.ndarray], whole: Mapping[str, Any], fit: Fit
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        path = self._program.config.init_from
        numbers = self._program.functional.numbers
        own = {n: x for n, x in whole.items() if n not in numbers and not lora.is_adapter(n)}
        found, fresh = {}, {}
        for name, leaf in own.items():
            given = weights.get(name)
            if given is None:
                fresh[name] = "not there"
            elif given.shape != leaf.shape:
                fresh[name] = f"has shape {given.shape} there"
            else:
                found[name] = given
        lines = [f"  fresh    {name} {own[name].shape}: {why}" for name, why in fresh.items()]
        unused = [name for name in weights if name not in whole]
        lines += [f"  unused   {name} {weights[name].shape}" for name in unused]
        if not found:
            raise UserError(
                f"init_from = {path!r}: nothing there matches this model.\n" + "\n".join(lines)
            )
        stuck = [name for name in fresh if name in fit.frozen]
        if stuck:
            raise UserError(
                f"init_from = {path!r} brings no {', '.join(stuck)}, and lora would freeze them as "
                f"they begin; train them: --config.lora.train='^{stuck[0].partition('.')[0]}'"
            )
        return found, [f"init_from {path}: {len(found)} of {len(own)} arrays taken over", *lines]


def _placed(array: np.ndarray, like: Any) -> Any:
    values = array.astype(like.dtype)
    if not hasattr(like, "sharding"):  # a lane of several, still on the host
        return values
    return jax.make_array_from_callback(like.shape, like.sharding, values.__getitem__)
