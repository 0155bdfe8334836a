"""A classifier two-sample test: can a logistic regression tell the window from the reference?

After Lopez-Paz & Oquab (2017), with both halves taking turns at learning and at being told apart.
"""

import math

import numpy as np

# E examples, F features, S statistics.

_RIDGE = 1.0
"""The penalty of the squared weights, in the units of the summed loss."""

_STEPS = 8
"""Newton's steps, at most."""


def classifier_test(reference_MS: np.ndarray, window_NS: np.ndarray) -> tuple[float, float]:
    """Returns the cross-fitted area under the ROC curve, and its one-sided p-value.

    Both take standardised statistics. The p-value is that of Mann and Whitney for one half: both
    halves' areas vary as much, and their mean does not vary more.
    """
    halves = [(reference_MS[i::2], window_NS[i::2]) for i in (0, 1)]
    areas, variances = [], []
    for learn, told in (halves, halves[::-1]):
        x_EF = _features(np.concatenate(learn))
        y_E = np.repeat((0.0, 1.0), [len(part) for part in learn])
        weight_F = fit_logistic(x_EF, y_E)
        scores = [_features(part) @ weight_F for part in told]
        areas.append(area_under_curve(*scores))
        a, b = map(len, told)
        variances.append((a + b + 1) / (12 * a * b))
    area = sum(areas) / 2
    z = (area - 0.5) / math.sqrt(max(variances))
    return area, 0.5 * math.erfc(z / math.sqrt(2))


def fit_logistic(x_EF: np.ndarray, y_E: np.ndarray) -> np.ndarray:
    """Fits a logistic regression with a ridge penalty, whose first feature is the constant 1 and
    is not penalised; returns its weights [F].
    """
    penalty_F = np.full(x_EF.shape[1], _RIDGE)
    penalty_F[0] = 1e-9
    weight_F = np.zeros(x_EF.shape[1])
    for _ in range(_STEPS):
        chance_E = 1 / (1 + np.exp(-np.clip(x_EF @ weight_F, -30, 30)))
        slope_F = x_EF.T @ (chance_E - y_E) + penalty_F * weight_F
        curve_E = np.maximum(chance_E * (1 - chance_E), 1e-6)
        hessian_FF = (x_EF * curve_E[:, None]).T @ x_EF + np.diag(penalty_F)
        step_F = np.linalg.solve(hessian_FF, slope_F)
        weight_F = weight_F - step_F
        if np.abs(step_F).max() < 1e-6:
            break
    return weight_F


def area_under_curve(low: np.ndarray, high: np.ndarray) -> float:
    """Returns the chance that a score of `high` is above one of `low`, ties counting half."""
    ordered = np.sort(low)
    above = np.searchsorted(ordered, high, side="left")
    equal = np.searchsorted(ordered, high, side="right") - above
    return float((above + equal / 2).mean() / len(low))


def _features(x_ES: np.ndarray) -> np.ndarray:
    """Returns 1, the statistics and their squares: means and spreads can be told apart."""
    near_ES = np.clip(x_ES, -5, 5)
    return np.concatenate([np.ones((len(x_ES), 1)), near_ES, near_ES**2 / 2], -1)
