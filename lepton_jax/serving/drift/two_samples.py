"""Distances between a reference and a window, one statistic at a time."""

import math

import numpy as np

# M reference examples, N window's examples, S statistics, B bins, D draws.

BINS = 10
"""Bins of equal share of the reference, by which PSI compares."""

_KEPT = 0.5
"""What is added to the count of each bin: a bin that is empty has a finite logarithm."""


def ks_distances(reference_MS: np.ndarray, window_NS: np.ndarray) -> np.ndarray:
    """Returns the greatest distance of the two distribution functions, by statistic [S]."""
    found = []
    for a, b in zip(np.sort(reference_MS.T), np.sort(window_NS.T), strict=True):
        every = np.concatenate([a, b])
        below_a = np.searchsorted(a, every, side="right") / len(a)
        below_b = np.searchsorted(b, every, side="right") / len(b)
        found.append(np.abs(below_a - below_b).max())
    return np.asarray(found)


def ks_p_value(distance: float, reference: int, window: int) -> float:
    """Returns the chance of such a distance without drift, by Kolmogorov's limit with Stephens'
    correction for the numbers of examples.
    """
    size = math.sqrt(effective_size(reference, window))
    x = (size + 0.12 + 0.11 / size) * distance
    if x < 0.2:  # the series needs many terms, and its sum is 1 to 10 digits
        return 1.0
    total = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, total))


def effective_size(reference: int, window: int) -> float:
    """Returns the number of examples whose comparison with a known law is as uncertain."""
    return reference * window / (reference + window)


def bin_edges(reference_MS: np.ndarray) -> list[np.ndarray]:
    """Returns by statistic the inner edges of bins of about equal share; equal edges are one."""
    shares = np.arange(1, BINS) / BINS
    return [np.unique(np.quantile(x, shares, method="higher")) for x in reference_MS.T]


def count_bins(values_NS: np.ndarray, edges: list[np.ndarray]) -> list[np.ndarray]:
    """Returns by statistic how many values are in each bin, [B]; a bin has its upper edge."""
    return [
        np.bincount(np.searchsorted(e, x, side="left"), minlength=len(e) + 1)
        for x, e in zip(values_NS.T, edges, strict=True)
    ]


def stability_index(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Returns the population stability index of counts [..., B]: both Kullback-Leibler divergences
    of the shares, half an example being added to each bin.
    """
    a, b = (x + _KEPT for x in (reference, window))
    a, b = (x / x.sum(-1, keepdims=True) for x in (a, b))
    return np.asarray(((a - b) * np.log(a / b)).sum(-1))


def chi_squared(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Returns Pearson's statistic that counts [..., B] of two samples are of one law."""
    total = reference + window
    share = total / np.maximum(total.sum(-1, keepdims=True), 1)
    found = np.zeros(total.shape[:-1])
    for counts in (reference, window):
        expected = share * counts.sum(-1, keepdims=True)
        found = found + ((counts - expected) ** 2 / np.maximum(expected, 1e-12)).sum(-1)
    return np.asarray(found)


def group_classes(label_M: np.ndarray, classes: int) -> np.ndarray:
    """Returns the group of each class [classes]: those that are rare in the reference are group 0.

    Each other group is a class with 5 examples or more; there are 19 of these at most.
    """
    count = np.bincount(label_M, minlength=classes)
    order = np.argsort(-count, kind="stable")
    own = [k for k in order.tolist() if count[k] >= 5][:19]
    groups = np.zeros(classes, np.int64)
    groups[own] = 1 + np.arange(len(own))
    return groups
