"""A test that may be looked at after every example: bets against 'nothing has changed'.

Each statistic of a new example is ranked among the reference and all examples since. As long as
nothing changes these ranks are uniform and independent (conformal p-values; Vovk et al. 2021,
'Retrain or not retrain'). Each of several gamblers bets on another departure, and a sum as that of
Shiryaev and Roberts lets a new gambler begin at every example (e-detectors; Shin, Ramdas & Rinaldo
2023).
"""

import numpy as np

from .reference import Reference

# S statistics, C cells of a statistic, G gamblers.

CELLS = 64
"""Cells in which values are counted. Ranks within a cell are drawn, and so uniform."""

STAKES = (0.25, 0.6, 0.95)
"""Shares of their money that gamblers bet: a small one for small shifts."""

_CAP = 1e12

_TOGETHER = 64
"""Examples whose ranks are found together: each is compared with each before it."""


class SequentialTest:
    """The state of the test: counts and the gamblers' money; of a fixed size.

    `evidence` stays below the allowance spent so far on average as long as nothing changes. So it
    reaches 1 with a probability of at most the allowance spent.
    """

    def __init__(self, reference: Reference):
        shares = np.arange(1, CELLS) / CELLS
        values_SM = reference.values.T
        self._edges = [np.unique(np.quantile(x, shares, method="higher")) for x in values_SM]
        self._count_SC = np.zeros((len(values_SM), CELLS))
        for count_C, cell_M in zip(self._count_SC, self._cells(reference.values).T, strict=True):
            count_C += np.bincount(cell_M, minlength=CELLS)
        self._stake_G = np.asarray([sign * s for s in STAKES for sign in (1, -1)])
        self._money_SG = np.zeros((len(values_SM), 2 * len(self._stake_G)))
        self._run_SG = np.ones_like(self._money_SG)
        self._since_SG = np.zeros_like(self._money_SG, np.int64)
        self._chance = np.random.default_rng(0)
        self.seen = 0
        self.evidence = 0.0
        self.most = 0.0
        """The greatest evidence so far."""

    def watch(self, values_BS: np.ndarray, allowance: float) -> None:
        """Looks at more examples, in their order.

        Args:
          values_BS: their statistics.
          allowance: how many false alarms may be spent on each, on average; it may depend on the
            time since the last ones, and not on the examples.
        """
        for start in range(0, len(values_BS), _TOGETHER):
            self._watch(values_BS[start : start + _TOGETHER], allowance)

    def _watch(self, values_BS: np.ndarray, allowance: float) -> None:
        rank_BS = self._ranks(self._cells(values_BS))
        # High or low, and in the middle or at the ends: both are uniform.
        side_BS2 = 2 * np.stack([rank_BS, np.abs(2 * rank_BS - 1)], -1) - 1
        factor_BSG = 1 + side_BS2[..., None] * self._stake_G
        for factor_SG in factor_BSG.reshape(len(values_BS), *self._money_SG.shape):
            self._money_SG = np.minimum((self._money_SG + allowance) * factor_SG, _CAP)
            self.seen += 1
            self.evidence = float(self._money_SG.mean())
            self.most = max(self.most, self.evidence)
            self._run_SG = np.minimum(np.maximum(self._run_SG, 1) * factor_SG, _CAP)
            self._since_SG[self._run_SG <= 1] = self.seen

    @property
    def since(self) -> int:
        """How many examples had been seen when the winning bet began to win (CUSUM).

        Of the gamblers that have at least a tenth of the most money, that whose money grew fastest:
        one with small stakes may have won a little by chance before.
        """
        growth_SG = np.log(np.maximum(self._run_SG, 1)) / np.maximum(self.seen - self._since_SG, 1)
        growth_SG = np.where(self._money_SG >= self._money_SG.max() / 10, growth_SG, -1.0)
        return int(self._since_SG.flat[growth_SG.argmax()])

    def by_statistic(self) -> np.ndarray:
        """Returns the evidence of each statistic alone, [S]."""
        return np.asarray(self._money_SG.mean(-1))

    def _cells(self, values_BS: np.ndarray) -> np.ndarray:
        columns = zip(self._edges, values_BS.T, strict=True)
        return np.stack([np.searchsorted(e, x, side="left") for e, x in columns], -1)

    def _ranks(self, cell_BS: np.ndarray) -> np.ndarray:
        """Returns each value's rank in [0, 1] among all seen before it and itself; counts them."""
        rows = np.arange(cell_BS.shape[1])
        before_SC = np.cumsum(self._count_SC, -1) - self._count_SC
        earlier_BB = np.tri(len(cell_BS), k=-1)[:, :, None]
        below_BS = (earlier_BB * (cell_BS[None] < cell_BS[:, None])).sum(1)
        same_BS = 1 + (earlier_BB * (cell_BS[None] == cell_BS[:, None])).sum(1)
        below_BS += before_SC[rows, cell_BS]
        same_BS += self._count_SC[rows, cell_BS]
        total_B1 = self._count_SC[0].sum() + 1 + np.arange(len(cell_BS))[:, None]
        np.add.at(self._count_SC, (rows, cell_BS), 1)
        return (below_BS + self._chance.random(cell_BS.shape) * same_BS) / total_B1
