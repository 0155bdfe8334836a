"""The draws of a search as a study of Optuna, which draws the next ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.question.experiment import Distribution, Search
from lepton_jax.ablation.question.trials import Trial
from lepton_jax.errors import UserError
from lepton_jax.installation import format_install
from lepton_jax.io import files


@dataclass(frozen=True)
class Draw:
    """Values that were drawn, their trial, and how far it has come."""

    values: Mapping[str, Any]
    trial: Trial
    rungs: tuple[int, ...]
    """Steps at which the trial is compared: the rungs of its bracket, and the last of the run."""
    scores: tuple[float, ...]
    """For each rung that the trial has reached, the best metric on `valid` up to it. Larger is
    better; -inf where the trial has failed."""

    @property
    def waiting(self) -> bool:
        """Whether the trial has not reached its first rung."""
        return not self.scores

    @property
    def complete(self) -> bool:
        """Whether the trial has come to its last step with a finite metric."""
        return len(self.scores) == len(self.rungs) and math.isfinite(self.scores[-1])


def make_study(search: Search, draws: Sequence[Draw], sign: int, storage: Any = None) -> Any:
    """Makes the study of a search so far.

    The sampler's seed is that of the search plus the number of draws. So a search that was killed
    draws what an unbroken one does.

    `sign`: 1 where a larger metric is better, else -1. `storage`: one of Optuna's; memory without.
    """
    optuna = import_optuna()
    study = optuna.create_study(
        storage=storage,
        study_name=search.name,
        direction="maximize" if sign > 0 else "minimize",
        sampler=_make_sampler(search.sampler, search.seed + len(draws)),
    )
    states = optuna.trial.TrialState
    distributions = _distributions(search)
    for draw in draws:
        metrics = [sign * score for score in draw.scores if math.isfinite(score)]
        complete = len(metrics) == len(draw.rungs)
        state = states.COMPLETE if complete else states.PRUNED if metrics else states.FAIL
        study.add_trial(
            optuna.trial.create_trial(
                params={
                    key: d.options.index(draw.values[key]) if d.options else draw.values[key]
                    for key, d in search.space.items()
                },
                distributions=distributions,
                intermediate_values=dict(zip(draw.rungs, metrics, strict=False)),
                state=state,
                value=metrics[-1] if complete else None,
                user_attrs={"trial": draw.trial.name},
            )
        )
    return study


def ask_study(study: Any, search: Search) -> tuple[Any, dict[str, Any]]:
    """Draws once: returns Optuna's trial, and the value of each key of the search's space."""
    asked = study.ask(_distributions(search))
    values = {
        key: d.options[asked.params[key]] if d.options else asked.params[key]
        for key, d in search.space.items()
    }
    return asked, values


def reject_draw(study: Any, asked: Any) -> None:
    """Tells the study that what it drew was not used."""
    study.tell(asked, state=import_optuna().trial.TrialState.FAIL)


def write_journal(search: Search, draws: Sequence[Draw], sign: int, path: str) -> None:
    """Writes the study as a journal, for optuna-dashboard, in place of the one before."""
    journal = import_optuna().storages.journal
    files.remove(path)
    storage = import_optuna().storages.JournalStorage(journal.JournalFileBackend(path))
    make_study(search, draws, sign, storage)


def import_optuna() -> Any:
    """Imports Optuna, and silences it.

    Raises:
      UserError: when it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        cure = format_install("search")
        raise UserError(f"a search needs the package optuna: {cure}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _make_sampler(name: str, seed: int) -> Any:
    samplers = import_optuna().samplers
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _distributions(search: Search) -> dict[str, Any]:
    return {key: _distribution(d) for key, d in search.space.items()}


def _distribution(d: Distribution) -> Any:
    distributions = import_optuna().distributions
    match d.kind:
        case "uniform":
            return distributions.FloatDistribution(d.low, d.high)
        case "log_uniform":
            return distributions.FloatDistribution(d.low, d.high, log=True)
        case "integer":
            return distributions.IntDistribution(int(d.low), int(d.high))
    return distributions.CategoricalDistribution(range(len(d.options)))
