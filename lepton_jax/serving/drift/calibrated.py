"""Thresholds by the window's size: how far apart windows without drift lie from the reference.

Windows and references are drawn anew from the reference, row by row, so that statistics go together
as they do there. Nothing is assumed of their laws but beyond what was drawn, where the chance of a
larger distance falls exponentially.
"""

from dataclasses import dataclass

import numpy as np

from .reference import Reference
from .two_samples import (
    bin_edges,
    chi_squared,
    count_bins,
    effective_size,
    group_classes,
    ks_distances,
    stability_index,
)

# M reference examples, N window's examples, S statistics, B bins, D draws.

DRAWS = 2000
_TAIL = 0.05
"""The share of the greatest distances drawn, by which the chance of larger ones is estimated."""


@dataclass(frozen=True)
class NullLaw:
    """The law of a distance without drift."""

    drawn: np.ndarray
    """Distances that were drawn, in order."""

    def p_value(self, distance: float) -> float:
        """Returns the chance of a distance as large or larger."""
        start, excess = self._tail()
        if distance <= start:
            above = len(self.drawn) - np.searchsorted(self.drawn, distance, side="left")
            return float((1 + above) / (1 + len(self.drawn)))
        return float(_TAIL * np.exp(-(distance - start) / excess))

    def threshold(self, level: float) -> float:
        """Returns the distance that is exceeded with the probability `level`."""
        start, excess = self._tail()
        if level >= _TAIL:
            return float(np.quantile(self.drawn, 1 - level))
        return float(start + excess * np.log(_TAIL / level))

    def _tail(self) -> tuple[float, float]:
        """Returns where the tail begins, and the mean distance from there."""
        start = float(np.quantile(self.drawn, 1 - _TAIL))
        beyond = self.drawn[self.drawn > start]
        return start, float((beyond - start).mean()) if len(beyond) else 1e-9


class WindowTests:
    """The tests of windows of one size, with their calibrated laws.

    Every test takes the statistic that has moved most: its law is that of the greatest of all.
    """

    def __init__(self, reference: Reference, size: int, draws: int = DRAWS):
        self.reference, self.size = reference, size
        self._edges = bin_edges(reference.values)
        self._in_bins = count_bins(reference.values, self._edges)
        self._weight = effective_size(len(reference), size)
        self._groups = None
        if reference.label is not None:
            self._groups = group_classes(reference.label, reference.classes)
        self.laws = {k: NullLaw(np.sort(v)) for k, v in self._draw(draws).items()}

    def distances(self, values_NS: np.ndarray, label_N: np.ndarray | None) -> dict[str, np.ndarray]:
        """Returns the distances of a window: `ks` and `psi` by statistic [S], `chi_squared` [1]."""
        found = {
            "ks": ks_distances(self.reference.values, values_NS),
            "psi": np.asarray(
                [
                    stability_index(a, b)
                    for a, b in zip(self._in_bins, count_bins(values_NS, self._edges), strict=True)
                ]
            ),
        }
        if self._groups is not None and label_N is not None:
            assert self.reference.label is not None
            pair = [self._count_groups(x) for x in (self.reference.label, label_N)]
            found["chi_squared"] = chi_squared(*pair)[None]
        return found

    def scaled(self, test: str, distance: float) -> float:
        """Returns a distance in the unit of `laws`, in which all fall off exponentially."""
        if test == "ks":
            return self._weight * distance**2
        return self._weight * distance if test == "psi" else distance

    def unscaled(self, test: str, scaled: float) -> float:
        """Returns what `scaled` was made of."""
        if test == "ks":
            return float(np.sqrt(max(scaled, 0) / self._weight))
        return scaled / self._weight if test == "psi" else scaled

    def _count_groups(self, label: np.ndarray) -> np.ndarray:
        """Counts answers by group; a class that the reference does not know is of the rare ones."""
        assert self._groups is not None
        known = (label >= 0) & (label < len(self._groups))
        group = np.where(known, self._groups[np.where(known, label, 0)], 0)
        return np.bincount(group, minlength=int(self._groups.max()) + 1)

    def _draw(self, draws: int) -> dict[str, np.ndarray]:
        """Draws references and windows, and returns the greatest distances of each pair [D]."""
        values_MS = self.reference.values
        count, statistics = values_MS.shape
        chance = np.random.default_rng(0)
        even = np.full(count, 1 / count)
        of_reference_DM = chance.multinomial(count, even, size=draws).astype(np.float32)
        of_window_DM = chance.multinomial(self.size, even, size=draws).astype(np.float32)
        apart_DM = of_reference_DM / count - of_window_DM / self.size
        ks_D, psi_D = np.zeros(draws), np.zeros(draws)
        for s in range(statistics):
            x_M = values_MS[:, s]
            order = np.argsort(x_M, kind="stable")
            ends = np.flatnonzero(np.append(np.diff(x_M[order]) > 0, True))
            summed_DM = np.cumsum(apart_DM[:, order], -1)[:, ends]
            ks_D = np.maximum(ks_D, np.abs(summed_DM).max(-1))
            cells_M = np.searchsorted(self._edges[s], x_M, side="left")
            one_MB = np.eye(len(self._edges[s]) + 1, dtype=np.float32)[cells_M]
            psi_D = np.maximum(
                psi_D, stability_index(of_reference_DM @ one_MB, of_window_DM @ one_MB)
            )
        laws = {"ks": self._weight * ks_D**2, "psi": self._weight * psi_D}
        if self._groups is not None and self.reference.label is not None:
            one_MB = np.eye(int(self._groups.max()) + 1, dtype=np.float32)[
                self._groups[self.reference.label]
            ]
            laws["chi_squared"] = chi_squared(of_reference_DM @ one_MB, of_window_DM @ one_MB)
        return laws
