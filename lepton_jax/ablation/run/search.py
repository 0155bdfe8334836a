"""Search: variants that are drawn, compared on `valid`, and stopped but for the best of them.

Optuna draws. Rungs follow asynchronous successive halving (ASHA; Li et al. 2020, algorithm 2), a
pack at a time: while a rung holds trials to promote they go on together, else new ones are drawn
into the lanes that are free. Several brackets, each beginning a rung later, are Hyperband (Li et
al. 2018).

W/searches/NAME.json      what was drawn
W/searches/NAME.journal   the same with results, for optuna-dashboard

How far a draw has come is told from its record, so a search that is killed goes on where it was.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lepton_jax.ablation.question.experiment import Distribution, Experiment, Search, Variant
from lepton_jax.ablation.question.trials import Trial, expand_variant, folder_name, load_base_config
from lepton_jax.ablation.run.feasibility import BuiltPrograms
from lepton_jax.ablation.run.pack import DueTrial
from lepton_jax.ablation.workdir import has_ended, trial_folder, trial_status
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.tracking import files
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.record import Record

MOST_TRIED = 20
"""Times that Optuna is asked for a draw, in the mean, before the space is taken to be exhausted."""


@dataclass(frozen=True)
class Draw:
    """What was drawn, and how far it has come."""

    values: Mapping[str, Any]
    trial: Trial
    rungs: tuple[int, ...]
    """Steps at which it is looked at: those of its bracket, and the last of the run."""
    seen: tuple[float, ...]
    """At each rung that it has reached, the best on `valid` until then; infinitely bad where the
    trial has failed."""

    @property
    def waits(self) -> bool:
        return not self.seen


class SearchDriver:
    """One search of an experiment: what is to run next, until there is nothing."""

    def __init__(self, search: Search, experiment: Experiment, where: str, programs: BuiltPrograms):
        self.search = search
        self._base = load_base_config(experiment.config, experiment)
        self._seeds, self._metric = list(experiment.seeds), f"valid/{experiment.metric}"
        self._sign = sign_of(experiment.mode)
        self._where, self._programs = where, programs
        self._path = files.join_path(where, "searches", f"{folder_name(search.name)}.json")
        self._exhausted = False
        """Whether the space holds nothing that has not been drawn."""
        self._drawn: list[Mapping[str, Any]] = []
        if files.exists(self._path):
            self._drawn = [_from_json(values) for values in files.read_json(self._path)["draws"]]

    def check(self) -> None:
        """Raises `UserError` where an end of a range, or a choice, makes no valid trial."""
        _optuna()
        lowest, faults = {key: d.ends[0] for key, d in self.search.space.items()}, []
        for key, distribution in self.search.space.items():
            for end in distribution.ends:
                try:
                    self._programs.check([self._trial({**lowest, key: end})])
                except UserError as e:
                    faults.append(str(e))
        if faults:
            raise UserError("\n".join(dict.fromkeys(faults)))

    def trials(self) -> list[Trial]:
        """All that has been drawn, and the best of it under every seed once the search is over."""
        draws = self._draws()
        return [d.trial for d in draws] + self._winner_again(draws)

    def due(self) -> list[DueTrial]:
        """What runs next, at once; nothing when the search is over and its best is measured."""
        draws = self._draws()
        if waiting := [d for d in draws if d.waits]:
            return [DueTrial(d.trial, d.rungs[0]) for d in waiting]
        if promoted := self._promoted(draws):
            return promoted
        left = self.search.trials - len(draws)
        if left and not self._exhausted:
            self._exhausted = not self._draw(draws, min(left, self.search.batch))
            return self.due()
        self._prune(draws)
        again = self._winner_again(draws)
        return [DueTrial(t) for t in again if not has_ended(trial_folder(self._where, t.name))]

    def view(self) -> None:
        """Writes the search as a study of Optuna; what was written before is replaced."""
        optuna = _optuna()
        path = self._path.removesuffix(".json") + ".journal"
        files.remove(path)
        backend = optuna.storages.journal.JournalFileBackend(path)
        self._study(self._draws(), optuna.storages.JournalStorage(backend))

    def _draws(self) -> list[Draw]:
        found = []
        for number, values in enumerate(self._drawn):
            trial = self._trial(values)
            shares = self.search.rungs[self._brackets[number] :]
            rungs = tuple(dict.fromkeys(self._programs.rungs(trial, (*shares, 1.0))))
            found.append(Draw(values, trial, rungs, self._seen(trial, rungs)))
        return found

    def _seen(self, trial: Trial, rungs: Sequence[int]) -> tuple[float, ...]:
        folder = trial_folder(self._where, trial.name)
        found = trial_status(folder) if Record.exists(folder) else {}
        if found.get("state") == "failed":
            return (-math.inf,) * len(rungs)
        reached = [r for r in rungs if r <= found.get("step", 0)]
        if not reached:
            return ()
        rows = Record.open(folder, writes=False).rows()
        values = [
            (row["step"], self._sign * row[self._metric]) for row in rows if self._metric in row
        ]
        return tuple(
            max((v for step, v in values if step <= rung and math.isfinite(v)), default=-math.inf)
            for rung in reached
        )

    def _promoted(self, draws: Sequence[Draw]) -> list[DueTrial]:
        """Of the highest rung at which somebody may go on: its best, and until where."""
        most = len(self.search.rungs)
        for level in reversed(range(most)):
            for bracket in range(self.search.brackets):
                rung = [
                    d for i, d in enumerate(draws)
                    if self._brackets[i] == bracket and len(d.seen) > level < len(d.rungs) - 1
                ]  # fmt: skip
                best = sorted(rung, key=lambda d: -d.seen[level])[
                    : len(rung) // self.search.reduction
                ]
                going = [
                    d for d in best if len(d.seen) == level + 1 and math.isfinite(d.seen[level])
                ]
                if going:
                    return [DueTrial(d.trial, d.rungs[level + 1]) for d in going]
        return []

    def _draw(self, draws: Sequence[Draw], count: int) -> bool:
        """Draws so many more, if the space holds so many; whether there was one at all.

        What cannot be built is said, and another is drawn in its place, as for what was drawn
        before.
        """
        study, space = self._study(draws, None), self.search.space
        distributions = {key: _distribution(d) for key, d in space.items()}
        before = len(self._drawn)
        for _ in range(MOST_TRIED * count):
            asked = study.ask(distributions)
            values = {
                key: d.options[asked.params[key]] if d.options else asked.params[key]
                for key, d in space.items()
            }
            try:
                self._programs.check([self._trial(values)])
                new = values not in self._drawn
            except UserError as e:
                new = False
                say(f"search {self.search.name}: drawn again, as {e}")
            if new:
                self._drawn.append(values)
            else:
                study.tell(asked, state=_optuna().trial.TrialState.FAIL)
            if len(self._drawn) == before + count:
                break
        files.make_dir(files.join_path(self._where, "searches"))
        files.write_json(self._path, {"draws": self._drawn})
        return len(self._drawn) > before

    def _study(self, draws: Sequence[Draw], storage: Any) -> Any:
        """What Optuna knows of the search. Its sampler is seeded by what was drawn, so that a
        search which was killed draws what an unbroken one does.
        """
        optuna = _optuna()
        seed = self.search.seed + len(draws)
        study = optuna.create_study(
            storage=storage,
            study_name=self.search.name,
            direction="maximize" if self._sign > 0 else "minimize",
            sampler=_sampler(self.search.sampler, seed),
        )
        states = optuna.trial.TrialState
        distributions = {key: _distribution(d) for key, d in self.search.space.items()}
        for draw in draws:
            seen = [self._sign * v for v in draw.seen if math.isfinite(v)]
            whole = len(seen) == len(draw.rungs)
            state = states.COMPLETE if whole else states.PRUNED if seen else states.FAIL
            study.add_trial(
                optuna.trial.create_trial(
                    params={
                        key: d.options.index(draw.values[key]) if d.options else draw.values[key]
                        for key, d in self.search.space.items()
                    },
                    distributions=distributions,
                    intermediate_values=dict(zip(draw.rungs, seen, strict=False)),
                    state=state,
                    value=seen[-1] if whole else None,
                    user_attrs={"trial": draw.trial.name},
                )
            )
        return study

    def _prune(self, draws: Sequence[Draw]) -> None:
        """Says in the records of those that were stopped that they will not go on."""
        for draw in draws:
            folder = trial_folder(self._where, draw.trial.name)
            found = trial_status(folder)
            if found.get("state") == "stopped":
                step = found["step"]
                reason = f"not among the best 1/{self.search.reduction} at step {step}"
                record = Record.open(folder)
                record.end("pruned", step, reason)
                record.close()

    def _winner_again(self, draws: Sequence[Draw]) -> list[Trial]:
        """Once nothing is left to draw or to promote: the best under the other seeds."""
        drawn = len(draws) == self.search.trials or self._exhausted
        if not drawn or any(d.waits for d in draws) or self._promoted(draws):
            return []
        whole = [d for d in draws if len(d.seen) == len(d.rungs) and math.isfinite(d.seen[-1])]
        if not whole:
            return []
        best = max(whole, key=lambda d: d.seen[-1])
        return self._trials(best.values, self._seeds[1:])

    def _trial(self, values: Mapping[str, Any]) -> Trial:
        return self._trials(values, self._seeds[:1])[0]

    def _trials(self, values: Mapping[str, Any], seeds: Sequence[int]) -> list[Trial]:
        variant = Variant(self.search.name, self.search.changes, tuning=values)
        return expand_variant(variant, self._base, seeds)

    @property
    def runs(self) -> float:
        """What is expected to be trained, in whole runs."""
        return sum(self._costs[b] for b in self._brackets) + len(self._seeds) - 1

    @property
    def example(self) -> Trial:
        """A trial such as will be drawn."""
        return self._trial({key: d.ends[0] for key, d in self.search.space.items()})

    @cached_property
    def _costs(self) -> list[float]:
        """Of a draw in each bracket, in whole runs, if of each rung the best go on."""
        found = []
        for first in range(self.search.brackets):
            own = [*self.search.rungs[first:], 1.0]
            shares = zip(itertools.pairwise(own), itertools.count(1), strict=False)
            further = ((b - a) / self.search.reduction**i for (a, b), i in shares)
            found.append(own[0] + sum(further))
        return found

    @cached_property
    def _brackets(self) -> list[int]:
        """The rung at which each draw begins: brackets get equal shares of the steps."""
        spent = [0.0] * self.search.brackets
        found = []
        for _ in range(self.search.trials):
            bracket = min(range(len(spent)), key=lambda i: spent[i] + self._costs[i])
            spent[bracket] += self._costs[bracket]
            found.append(bracket)
        return found


def _sampler(name: str, seed: int) -> Any:
    samplers = _optuna().samplers
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)


def _distribution(d: Distribution) -> Any:
    distributions = _optuna().distributions
    match d.kind:
        case "uniform":
            return distributions.FloatDistribution(d.low, d.high)
        case "log_uniform":
            return distributions.FloatDistribution(d.low, d.high, log=True)
        case "integer":
            return distributions.IntDistribution(int(d.low), int(d.high))
    return distributions.CategoricalDistribution(range(len(d.options)))


def _from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError:
        raise UserError(
            "a search needs the package optuna: pip install 'lepton_jax[search]', or optuna>=4.5"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
