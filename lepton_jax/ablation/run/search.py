"""Hyperparameter search: values that are drawn, compared on `valid`, and stopped but for the best.

Optuna draws (study.py). The rungs follow asynchronous successive halving (ASHA; Li et al. 2020,
algorithm 2), a pack at a time: while a rung holds trials to promote, these go on together; else new
ones are drawn. Several brackets, each of which begins a rung later, are Hyperband (Li et al. 2018).

    W/searches/NAME.json      the values that were drawn
    W/searches/NAME.journal   the same with results, for optuna-dashboard

How far a draw has come is read from its record, so a search that is killed goes on where it was.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from lepton_jax.ablation.question.experiment import Experiment, Search, Variant
from lepton_jax.ablation.question.trials import (
    Trial,
    expand_variant,
    folder_name,
    load_base_config,
)
from lepton_jax.ablation.run.feasibility import BuiltPrograms
from lepton_jax.ablation.run.pack import DueTrial
from lepton_jax.ablation.run.study import (
    Draw,
    ask_study,
    import_optuna,
    make_study,
    reject_draw,
    write_journal,
)
from lepton_jax.ablation.workdir import has_ended, trial_folder, trial_status
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.record import Record

MOST_TRIED = 20
"""Times that Optuna is asked for each draw, on average, before the space counts as exhausted."""


class SearchDriver:
    """One search of an experiment: says which trials run next, until the search is over."""

    def __init__(
        self, search: Search, experiment: Experiment, workdir: str, programs: BuiltPrograms
    ):
        self.search = search
        self._base = load_base_config(experiment.config, experiment)
        self._seeds, self._metric = list(experiment.seeds), f"valid/{experiment.metric}"
        self._sign = sign_of(experiment.mode)
        self._workdir, self._programs = workdir, programs
        self._path = files.join_path(workdir, "searches", f"{folder_name(search.name)}.json")
        self._exhausted = False
        """Whether every value of the space has been drawn."""
        self._drawn: list[Mapping[str, Any]] = []
        if files.exists(self._path):
            self._drawn = read_draws(self._path)

    def check(self) -> None:
        """Checks that the ends of every range, and every choice, make a valid trial.

        Raises:
          UserError: listing those that do not; or when Optuna is not installed.
        """
        import_optuna()
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
        """Lists the trials that were drawn; once the search is over, its best under every seed."""
        draws = self._draws()
        return [d.trial for d in draws] + self._reruns_of_best(draws)

    def due(self) -> list[DueTrial]:
        """Returns the trials that run next, at once; none when the search is over."""
        draws = self._draws()
        if waiting := [d for d in draws if d.waiting]:
            return [DueTrial(d.trial, d.rungs[0]) for d in waiting]
        if promoted := self._promotions(draws):
            return promoted
        left = self.search.trials - len(draws)
        if left and not self._exhausted:
            self._exhausted = not self._draw(draws, min(left, self.search.batch))
            return self.due()
        self._prune(draws)
        reruns = self._reruns_of_best(draws)
        return [DueTrial(t) for t in reruns if not has_ended(trial_folder(self._workdir, t.name))]

    def write_journal(self) -> None:
        """Writes the search as a study of Optuna, in place of the one before; nothing before the
        first draw.
        """
        if not self._drawn:
            return
        path = self._path.removesuffix(".json") + ".journal"
        write_journal(self.search, self._draws(), self._sign, path)

    @property
    def expected_runs(self) -> float:
        """The expected cost of the search, in whole runs."""
        return sum(self._costs[b] for b in self._brackets) + len(self._seeds) - 1

    @property
    def example_trial(self) -> Trial:
        """A trial such as will be drawn."""
        return self._trial({key: d.ends[0] for key, d in self.search.space.items()})

    def _draws(self) -> list[Draw]:
        draws = []
        for number, values in enumerate(self._drawn):
            trial = self._trial(values)
            shares = self.search.rungs[self._brackets[number] :]
            rungs = tuple(dict.fromkeys(self._programs.rung_steps(trial, (*shares, 1.0))))
            draws.append(Draw(values, trial, rungs, self._scores(trial, rungs)))
        return draws

    def _scores(self, trial: Trial, rungs: Sequence[int]) -> tuple[float, ...]:
        """Reads `Draw.scores` from a trial's record."""
        folder = trial_folder(self._workdir, trial.name)
        status = trial_status(folder) if Record.exists(folder) else {}
        if status.get("state") == "failed":
            return (-math.inf,) * len(rungs)
        ended = status.get("state") == "finished"  # at its last step, or early
        reached = [rung for rung in rungs if ended or rung <= status.get("step", 0)]
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

    def _promotions(self, draws: Sequence[Draw]) -> list[DueTrial]:
        """Returns the best draws of the highest rung that has any to promote, until the next."""
        for level in reversed(range(len(self.search.rungs))):
            for bracket in range(self.search.brackets):
                rung = [
                    d for i, d in enumerate(draws)
                    if self._brackets[i] == bracket and len(d.scores) > level < len(d.rungs) - 1
                ]  # fmt: skip
                ranked = sorted(rung, key=lambda d: -d.scores[level])
                best = ranked[: len(rung) // self.search.reduction]
                promoted = [
                    d for d in best if len(d.scores) == level + 1 and math.isfinite(d.scores[level])
                ]
                if promoted:
                    return [DueTrial(d.trial, d.rungs[level + 1]) for d in promoted]
        return []

    def _draw(self, draws: Sequence[Draw], count: int) -> bool:
        """Draws `count` more values, or as many as the space holds; returns whether any was new.

        Draws again in place of values that cannot be built, which is said, or were drawn before.
        """
        study = make_study(self.search, draws, self._sign)
        before = len(self._drawn)
        for _ in range(MOST_TRIED * count):
            asked, values = ask_study(study, self.search)
            try:
                self._programs.check([self._trial(values)])
                is_new = values not in self._drawn
            except UserError as e:
                is_new = False
                say(f"search {self.search.name}: drawn again, because {e}")
            if is_new:
                self._drawn.append(values)
            else:
                reject_draw(study, asked)
            if len(self._drawn) == before + count:
                break
        files.make_dir(files.join_path(self._workdir, "searches"))
        files.write_json(self._path, {"draws": self._drawn})
        return len(self._drawn) > before

    def _prune(self, draws: Sequence[Draw]) -> None:
        """Notes in the records of draws that were stopped at a rung that they will not go on."""
        for draw in draws:
            folder = trial_folder(self._workdir, draw.trial.name)
            status = trial_status(folder)
            if status.get("state") == "stopped":
                step = status["step"]
                reason = f"not among the best 1/{self.search.reduction} at step {step}"
                record = Record.open(folder)
                record.end("pruned", step, reason)
                record.close()

    def _reruns_of_best(self, draws: Sequence[Draw]) -> list[Trial]:
        """Makes the best draw's trials under the other seeds, once no draw is left to run."""
        all_drawn = len(draws) == self.search.trials or self._exhausted
        if not all_drawn or any(d.waiting for d in draws) or self._promotions(draws):
            return []
        complete = [d for d in draws if d.complete]
        if not complete:
            return []
        best = max(complete, key=lambda d: d.scores[-1])
        return self._trials(best.values, self._seeds[1:])

    def _trial(self, values: Mapping[str, Any]) -> Trial:
        return self._trials(values, self._seeds[:1])[0]

    def _trials(self, values: Mapping[str, Any], seeds: Sequence[int]) -> list[Trial]:
        variant = Variant(self.search.name, self.search.changes, tuning=values)
        return expand_variant(variant, self._base, seeds)

    @cached_property
    def _costs(self) -> list[float]:
        """The expected cost of a draw in each bracket, in whole runs."""
        costs = []
        for first in range(self.search.brackets):
            ends = [*self.search.rungs[first:], 1.0]
            stretches = zip(itertools.pairwise(ends), itertools.count(1), strict=False)
            costs.append(
                ends[0] + sum((b - a) / self.search.reduction**level for (a, b), level in stretches)
            )
        return costs

    @cached_property
    def _brackets(self) -> list[int]:
        """The bracket of each draw, which begins at the rung of that number.

        Brackets get equal shares of the steps.
        """
        spent = [0.0] * self.search.brackets
        brackets = []
        for _ in range(self.search.trials):
            bracket = min(range(len(spent)), key=lambda i: spent[i] + self._costs[i])
            spent[bracket] += self._costs[bracket]
            brackets.append(bracket)
        return brackets


def read_draws(path: str) -> list[Mapping[str, Any]]:
    """Reads the values that a search has drawn. Raises `WorkError` when the file is damaged."""
    return [_tuples_for_lists(one) for one in files.read_object(path, draws=list[dict])["draws"]]


def _tuples_for_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turns lists into tuples, which JSON has not."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
