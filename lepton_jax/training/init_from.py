"""The state before the first step: freshly drawn, with the weights that `init_from` names.

Weights have names such as `conv1.kernel`; parameters and running statistics share one flat dict.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from lepton_jax.config.config import Config
from lepton_jax.data.spec import Vocabulary
from lepton_jax.data.text.tokenizer import Tokenizer
from lepton_jax.errors import UserError, did_you_mean, list_names
from lepton_jax.io.weight_files import is_pretrained
from lepton_jax.training import lora, optimizer, saved
from lepton_jax.training.layout import Layout
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit
from lepton_jax.trees import flatten_tree, unflatten_tree


def initial_state(layout: Layout) -> tuple[State, str]:
    """Returns the state of a run before its first step, on the devices, and a report for people.

    The report says which weights `init_from` brought and which parameters are frozen; it is empty
    where there is nothing to say.
    """
    warm_start = WarmStart(layout.program)
    state, report = warm_start(layout.fresh()["state"])
    return state, "\n".join(filter(None, [report, _frozen_report(state, layout.program.config)]))


class InitialWeights(NamedTuple):
    """Weights by name, as a folder has them."""

    arrays: Mapping[str, np.ndarray]
    required: frozenset[str] = frozenset()
    """Names that must fit the model: the folder says that it is the same model."""
    not_read: Sequence[str] = ()
    """What else is there, a line each."""
    chosen: str = ""
    """Which checkpoint of a run it is, where the path does not say it."""


def check_warm_start(layout: Layout) -> str:
    """Reads the weights that a run would start from and checks that they fit; makes no state.

    Returns:
      The report of `initial_state` on them; empty where the run draws all its weights.

    Raises:
      UserError: as `WarmStart` does.
    """
    config = layout.program.config
    alpha = config.lora.alpha if config.lora else 1.0
    return WarmStart(layout.program).match(layout.like["state"].learner, alpha)[1]


class WarmStart:
    """The weights that a config's `init_from` and `lora.init_from` name; they are read once.

    Raises:
      UserError: when there are no such weights, or they belong to another model.
    """

    def __init__(self, program: Program):
        config = program.config
        self._program = program
        self._weights = None
        if config.init_from:
            path = os.path.expanduser(config.init_from)
            check_vocabulary(path, program.spec.vocabulary)
            self._weights = read_initial_weights(path, program)
        file = os.path.expanduser(config.lora.init_from) if config.lora else ""
        self._adapters = lora.read_adapters(file) if file else None

    def __call__(self, state: State) -> tuple[State, str]:
        """Returns a fresh `state` with every array replaced whose name and shape match, and a
        report of what matched.

        Raises:
          UserError: when nothing matches, when `lora` would freeze an array that was not brought,
            or when the task has a step of its own.
        """
        alpha = float(state.hyper["lora"]["alpha"]) if self._adapters is not None else 1.0
        matched, report = self.match(state.learner, alpha)
        if not report:
            return state, ""
        fit = state.learner
        fresh = _arrays_of(fit)
        arrays = fresh | {name: _put_like(x, fresh[name]) for name, x in matched.items()}
        params = unflatten_tree(arrays, fit.params)
        ema = jax.tree.map(jax.numpy.copy, params) if fit.ema else fit.ema
        frozen, rest = unflatten_tree(arrays, fit.frozen), unflatten_tree(arrays, fit.rest)
        learner = dataclasses.replace(fit, params=params, rest=rest, ema=ema, frozen=frozen)
        return dataclasses.replace(state, learner=learner), report

    def match(self, learner: Any, alpha: float) -> tuple[dict[str, np.ndarray], str]:
        """Returns the weights that replace arrays of `learner`, of which the shapes alone are
        looked at, and the report on them; '' where there are none.

        Raises:
          UserError: as `__call__`, which calls it.
        """
        matched: dict[str, np.ndarray] = {}
        lines: list[str] = []
        if self._weights is None and self._adapters is None:
            return matched, ""
        if not isinstance(learner, Fit):
            raise UserError("init_from needs a task with one model; this task defines its own step")
        if self._weights is not None:
            matched, lines = self._match(self._weights, _arrays_of(learner), learner)
        if self._adapters is not None:
            trained = flatten_tree(learner.params)
            matched |= lora.match_adapters(self._adapters, trained, alpha)
            lines.append(f"lora.init_from: {len(trained)} arrays taken over")
        return matched, "\n".join(lines)

    def _match(
        self, weights: InitialWeights, fresh: Mapping[str, Any], fit: Fit
    ) -> tuple[dict[str, np.ndarray], list[str]]:
        """Returns the arrays of `weights` that fit the model, and the lines of the report."""
        path = self._program.config.init_from
        numbers = self._program.parts.functional.numbers
        wanted = {n: x for n, x in fresh.items() if n not in numbers and not lora.is_adapter(n)}
        anew = self._drawn_anew(wanted)
        matched, reasons = {}, {}
        for name, leaf in wanted.items():
            stored = weights.arrays.get(name)
            if name in anew:
                reasons[name] = "init_fresh"
            elif stored is None:
                reasons[name] = "not there"
            elif stored.shape != leaf.shape:
                reasons[name] = f"has shape {stored.shape} there"
            else:
                matched[name] = stored
        lines = [f"  fresh    {name} {wanted[name].shape}: {why}" for name, why in reasons.items()]
        unused = {name: x for name, x in weights.arrays.items() if name not in fresh}
        lines += [f"  unused   {name} {x.shape}" for name, x in unused.items()]
        lines += [f"  not read {line}" for line in weights.not_read]
        if not matched:
            raise UserError(
                f"init_from = {path!r}: nothing there matches this model.\n" + "\n".join(lines)
            )
        other = [
            f"{name} {why}" for name, why in reasons.items() if name in weights.required - anew
        ]
        if other:
            raise UserError(
                f"init_from = {path!r} is another model than the config's: " + "; ".join(other[:3])
            )
        stuck = [name for name in reasons if name in fit.frozen]
        if stuck:
            raise UserError(
                f"init_from = {path!r} has no weights for {', '.join(stuck)}, and lora "
                f"would freeze their random initial values; train them: "
                f"--config.lora.train='^{stuck[0].partition('.')[0]}'"
            )
        report = (
            f"init_from {path}{weights.chosen}: {len(matched)} of {len(wanted)} arrays taken over"
        )
        return matched, [report, *lines]

    def _drawn_anew(self, names: Iterable[str]) -> frozenset[str]:
        """Returns the parameters that `init_fresh` leaves as they are drawn.

        Raises:
          UserError: when the pattern matches none.
        """
        pattern, names = self._program.config.init_fresh, list(names)
        found = frozenset(name for name in names if pattern and re.search(pattern, name))
        if pattern and not found:
            raise UserError(
                f"init_fresh = {pattern!r} matches no parameter{did_you_mean(pattern, names)}; "
                f"there are: {list_names(names, most=8)}"
            )
        return found


def _arrays_of(fit: Fit) -> dict[str, Any]:
    return flatten_tree(fit.params) | flatten_tree(fit.frozen) | flatten_tree(fit.rest)


def read_initial_weights(path: str, program: Program) -> InitialWeights:
    """Reads the weights for the model of `program` from a folder of Hugging Face, or from whatever
    `saved.read_weights` reads.

    Raises:
      UserError: when `path` is no such folder, or holds another model than the program's.
    """
    folder = epath.Path(path)
    if is_pretrained(folder):
        # Only here, so that a run that begins from scratch loads no table of Hugging Face's names.
        from lepton_jax.models.hugging_face.folder import read_pretrained

        found = read_pretrained(folder, program.config.model, *program.parts.shape)
        body = frozenset(name for name in found.weights if not name.startswith(found.head))
        return InitialWeights(found.weights, body, found.not_read)
    if at := saved.locate_checkpoint(path):
        workdir, step = at
        chosen = f", step {step} (best)" if workdir == path else ""
        return InitialWeights(saved.checkpoint_weights(workdir, step), chosen=chosen)
    return InitialWeights(saved.read_weights(path))


def check_vocabulary(path: str, vocabulary: Vocabulary | None) -> None:
    """Checks that the weights in `path` were trained on the tokens of this run's `vocabulary`.

    Raises:
      UserError: when they were trained on other tokens.
    """
    folder = epath.Path(path)
    if folder.parent.name == "checkpoints":
        folder = folder.parent.parent
    file = folder / "tokenizer.json"
    if vocabulary is None or not file.exists():
        return
    stored = Tokenizer(file.read_text(), str(file)).vocabulary.tokens
    if stored != vocabulary.tokens:
        raise UserError(
            f"init_from = {path!r}: its weights belong to a tokenizer with {len(stored)} tokens, "
            f"which differ from the {len(vocabulary)} tokens of this run's tokenizer; "
            f"expected data.tokenizer = "
            f"{{'name': 'pretrained', 'path': {str(file)!r}}}"
        )


def _put_like(array: np.ndarray, like: Any) -> Any:
    """Converts `array` to the type of `like` and puts it where `like` is."""
    values = array.astype(like.dtype)
    if not isinstance(like, jax.Array):  # a lane of several, still on the host
        return values
    return jax.make_array_from_callback(like.shape, like.sharding, values.__getitem__)


def _frozen_report(state: State, config: Config) -> str:
    """Says which parameters do not train and why, a line a reason; empty when all of them train."""
    fit = state.learner
    if not isinstance(fit, Fit):
        return ""
    frozen = {"lora": flatten_tree(fit.frozen)}
    if config.optimizer.groups:
        params = flatten_tree(fit.params)
        for name, group in optimizer.frozen_by_groups(config.optimizer, fit.params).items():
            frozen.setdefault(f"optimizer.groups.{group}", {})[name] = params[name]
    total = sum(x.size for x in jax.tree.leaves((fit.params, fit.frozen)))
    return "\n".join(
        f"frozen by {key}: {sum(x.size for x in arrays.values()):,} of {total:,} parameters: "
        f"{list_names(arrays, most=4)}"
        for key, arrays in frozen.items()
        if arrays
    )
