"""Cross-validation: the examples of a source in folds, of which one is held out as 'test'."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lepton_jax.config.pipeline import NO_TRANSFORMS
from lepton_jax.data.account import Account
from lepton_jax.data.cache import cached_columns
from lepton_jax.data.joined import join_splits
from lepton_jax.data.labels import HIDDEN
from lepton_jax.data.naming import SPLITS
from lepton_jax.data.source import (
    Columns,
    MappedSplit,
    Source,
    labels_of,
    select_examples,
)
from lepton_jax.errors import UserError, list_names
from lepton_jax.transforms.host import Element

# The word of the key that carving 'valid' and the epochs of an order leave free: see dataset.py.
_FOLDS = 2**64 - 2


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation."""

    index: int
    """Which one, from 0."""
    count: int
    of: Literal["train", "all"]
    """Whose examples are divided: those of 'train', or those of all splits together."""
    seed: int


def hold_out_fold(source: Source, fold: Fold) -> Source:
    """Returns the source with the fold as 'test' and the other folds as 'train'.

    A 'valid' of the source's own stays, unless its examples are divided as well.

    Raises:
      UserError: when there is no 'train', or there are fewer examples than folds.
    """
    if "train" not in source.splits:
        there = list_names(source.splits)
        raise UserError(f"{source.description}: data.folds divides 'train'; there are: {there}")
    labels = {name: _read_labels(source, name) for name in source.splits if name in SPLITS}
    divided = ["train"] if fold.of == "train" else _with_labels(labels)
    pool = join_splits([source.splits[name] for name in divided])
    if len(pool) < fold.count:
        raise UserError(
            f"data.folds = {fold.count}: {source.description} has {len(pool)} examples in "
            f"{list_names(divided)}; expected at least one for each fold"
        )
    known = [found for name in divided if (found := labels[name]) is not None]
    classes = np.concatenate(known) if len(known) == len(divided) else None
    numbers = assign_folds(len(pool), classes, fold.count, fold.seed)
    splits = {
        "train": select_examples(pool, np.flatnonzero(numbers != fold.index)),
        "test": select_examples(pool, np.flatnonzero(numbers == fold.index)),
    }
    account = Account()
    account.add(source.account)
    for name, split in source.splits.items():
        if name == "test" and name not in divided:
            what = f"examples of {name!r}, in whose place fold {fold.index} stands"
            account.note("left out", what, count=len(split))
        elif name not in divided:
            splits[name] = split
    if len(divided) > 1:
        account.note("joined", "splits", list_names(divided), len(divided))
    identity = f"{source.fingerprint} {fold} {classes is not None}"
    return replace(
        source,
        splits=splits,
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        description=f"{source.description}, fold {fold.index} of {fold.count}",
        account=account,
    )


def assign_folds(examples: int, labels: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """Returns the fold of each example, int64 [examples].

    The examples are dealt out to the folds in turn, class by class, and within a class in the order
    of the hash of (seed, index). So the folds differ in size by one example at most, and in the
    examples of each class as well; nothing but the seed and the labels decides.

    `labels`: int [examples]; None: without classes.
    """
    key = np.array([seed, _FOLDS], np.uint64)
    hashed = np.random.Philox(key=key).random_raw(examples)
    order = np.lexsort((hashed,) if labels is None else (hashed, labels))
    folds = np.empty(examples, np.int64)
    folds[order] = np.arange(examples) % count
    return folds


def _with_labels(labels: Mapping[str, np.ndarray | None]) -> list[str]:
    """Lists the splits, in our order, without those that withhold their labels."""
    hidden = [n for n, found in labels.items() if found is not None and (found == HIDDEN).all()]
    return [name for name in SPLITS if name in labels and name not in hidden]


def _read_labels(source: Source, name: str) -> np.ndarray | None:
    """Returns the labels int [N] of a split; None where its examples have no single label.

    Where they are only known by reading every example, they are kept in the cache.
    """
    split = source.splits[name]
    at_hand = labels_of(split)
    if at_hand is not None or isinstance(split, Columns) or len(split) == 0:
        return at_hand
    label = np.asarray(split[0].get("label", ""))
    if label.shape != () or label.dtype.kind not in "iu":
        return None
    columns = cached_columns(
        MappedSplit(split, _only_label),
        name=name,
        fingerprint=f"{source.fingerprint}{source.reading} labels",
        decode=NO_TRANSFORMS,
        look_only=False,
        source=source.description,
    )
    return labels_of(columns)


def _only_label(example: Element) -> Element:
    return {"label": np.asarray(example["label"], np.int32)}
