"""Loads the data that a config names."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from lepton_jax.config.components import Component
from lepton_jax.config.config import Config
from lepton_jax.config.user_code import blame
from lepton_jax.data import dataset
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.folds import Fold
from lepton_jax.data.origins import locate_training_examples
from lepton_jax.data.source import check_source, origin_of
from lepton_jax.data.sources.tfds_prepared import AbsentSet
from lepton_jax.evaluation.worst import name_files
from lepton_jax.training.absent_data import list_ways


def load_data(
    config: Config, source: Component | None = None, tokenizer: str = "", look_only: bool = False
) -> Dataset:
    """Loads the data that a config names, or another source treated in the same way.

    Only the config's own source is divided into folds.

    `tokenizer`: the text of the run's tokenizer.json, if it has one already.

    Raises:
      UserError: when the source is no `Source`, or its data does not fit the config.
    """
    component = source or config.data.source
    try:
        return _load_data(config, component, tokenizer, look_only, _fold(config, source))
    except AbsentSet as e:
        e.ways = list_ways(config, e)
        raise
    except Exception as e:  # noqa: BLE001  whatever a user's source or encoding raises
        blame(f"source {component.name}", e)


def _fold(config: Config, source: Component | None) -> Fold | None:
    section = config.data
    if section.folds is None or source is not None:
        return None
    return Fold(section.fold, section.folds, section.folds_of, section.split_seed)


def _load_data(
    config: Config, component: Component, tokenizer: str, look_only: bool, fold: Fold | None
) -> Dataset:
    section, built = config.data, component.build()
    check_source(component.name, built)
    return dataset.load_dataset(
        built,
        decode=section.decode,
        valid_fraction=section.valid_fraction,
        split_seed=section.split_seed,
        train_decode=section.train_decode,
        tokenizer=tokenizer or section.tokenizer,
        encode=section.encode,
        look_only=look_only,
        fold=fold,
    )


def name_worst(
    data: Dataset, config: Config, split: str, results: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the results of a split, with the file of each of its worst examples where that is
    known. Files are named from the folder of the source.
    """
    place = data.places.get(split)
    root = os.path.expanduser(str(config.data.source.keys.get("path", "")))
    root = root if os.path.isdir(root) else os.path.dirname(root)
    return name_files(results, lambda i: origin_of(place, i) if place else "", root)


def locate_examples(config: Config) -> Callable[[int], str]:
    """Returns what tells where an example of 'train' comes from, by its number: '' for texts, which
    encodings join and cut.
    """
    section = config.data
    if section.encode is not None:
        return lambda index: ""
    return locate_training_examples(
        section.source.build(),
        fold=_fold(config, None),
        valid_fraction=section.valid_fraction,
        split_seed=section.split_seed,
    )
