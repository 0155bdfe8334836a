"""What is asked is what a config holds, or one line says why not: values of every kind, every key.

The ranges that the values are judged by are written here a second time, by the names of the keys
and from the meaning of each number.
"""

import math
import random

import pytest

from lepton_jax.config.components import TABLES, component_keys
from lepton_jax.config.validation import validate_config
from lepton_jax.config.walk import to_tree
from lepton_jax.errors import UserError

VALUES = [
    -1, 0, 1, 2, 3, 255, 2**31, 2**32, 2**64, -(2**70), 0.0, -0.0, 0.1, 0.5, 0.999, 1.0, 1.5, -1e-3,
    1e-320, 1e300, math.nan, math.inf, -math.inf, True, False, None, "", " ", "1", "0.1", "none",
    "None", "true", "word", "~/x", "\u00e9", "a" * 300, "1 step", "-1 steps", "0 steps", "3 epochs",
    [], (), [1, 2], (1, -2), (0,), ((1,),), {}, {"a": 1}, {"name": "adamw"}, {"name": "nothing"},
    b"x", 1j, object, range(3), {1, 2},
]  # fmt: skip

BASE = {
    "model": {"name": "cnn"},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "generated_images"}, "prepare": "scale()"},
    "optimizer": {"name": "adamw", "learning_rate": 1e-3},
    "train_for": "3 steps",
    "batch_size": 8,
}
SECTIONS = {
    "model": "model", "task": "task", "source": "data.source", "tokenizer": "data.tokenizer",
    "encoding": "data.encode", "optimizer": "optimizer", "schedule": "schedule",
    "strategy": "strategy", "metric": "metrics.mine", "writer": "writers.mine",
}  # fmt: skip
TOP = [
    "batch_size", "accumulate", "ema", "seed", "hang_timeout", "heartbeat", "keep_last",
    "train_for", "early_stopping.patience", "early_stopping.min_delta", "evaluate_every",
    "log_every", "checkpoint_every", "precision", "init_from", "profile", "data.valid_fraction",
    "data.split_seed", "data.workers", "data.placement", "data.order", "data.buckets",
    "data.augment", "data.decode", "best.mode", "optimizer.learning_rate",
    "optimizer.clip_norm", "optimizer.weight_decay", "lora.rank", "lora.alpha",
]  # fmt: skip

NEVER_NEGATIVE = {
    "learning_rate", "weight_decay", "clip_norm", "momentum", "eps", "dropout", "batch_size",
    "accumulate", "seed", "split_seed", "ema", "label_smoothing", "layers", "width", "heads",
    "features", "hidden", "rank", "alpha", "hang_timeout", "heartbeat", "keep_last",
    "valid_fraction", "patience", "min_delta",
    "b1", "b2", "vocabulary", "length", "top_k", "workers", "filters", "context", "depth",
}  # fmt: skip
NEVER_ZERO = {
    "batch_size", "accumulate", "hang_timeout", "heartbeat", "keep_last", "clip_norm", "rank",
    "alpha", "patience",
    "heads", "features", "width", "filters", "length", "context",
}  # fmt: skip
BELOW_ONE = {"dropout", "ema", "b1", "b2", "valid_fraction", "momentum"}


def numbers_of(value):
    if isinstance(value, tuple | list):
        return [n for v in value for n in numbers_of(v)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def is_possible(key, value):
    """Tells whether a number can be meant for a key of this name."""
    for n in numbers_of(value):
        if not math.isfinite(n):
            return False
        if (key in NEVER_NEGATIVE and n < 0) or (key in NEVER_ZERO and n == 0):
            return False
        if key in BELOW_ONE and n >= 1:
            return False
        if "seed" in key and n >= 2**32:
            return False
    return True


def list_keys():
    keys = list(TOP)
    for kind, section in SECTIONS.items():
        for name in TABLES[kind]:
            keys += [f"{section}|{name}|{key}" for key in component_keys(kind, name)]
    return sorted(set(keys))


def tree_with(key, value):
    """Returns the base config with one value, and the path of the key."""
    section, name, last = key.split("|") if "|" in key else (*key.rpartition(".")[::2], None)
    if last is None:
        section, name, last = section, None, name
    tree = {k: dict(v) if isinstance(v, dict) else v for k, v in BASE.items()}
    at = tree
    for part in section.split(".") if section else []:
        at[part] = dict(at.get(part) or {})
        at = at[part]
    if name is not None:
        keep = {"learning_rate": 1e-3} if section == "optimizer" else {}
        at.clear()
        at.update(name=name, **keep)
        if name == "tokenizer":
            tree["data"]["encode"] = {"name": "text", "length": 8}
    at[last] = value
    return tree, f"{section}.{last}" if section else last


def value_at(config, path):
    at = to_tree(config)
    for part in path.split("."):
        at = at[part]
    return at


def same(asked, held):
    """Tells whether what a config holds is what was asked: numbers and tuples may change type."""
    if isinstance(asked, tuple | list) and isinstance(held, tuple | list):
        return len(asked) == len(held) and all(map(same, asked, held))
    if isinstance(asked, bool) or isinstance(held, bool):
        return asked is held
    if isinstance(asked, dict):
        return True  # the keys of a section are judged one by one
    if asked in ("", None) and held in ("", None):
        return True  # both are 'none' of a text
    return asked == held


KEYS = list_keys()


@pytest.mark.parametrize("seed", range(3))
def test_a_value_is_held_as_it_was_asked_or_refused_in_a_line(seed):
    draw = random.Random(seed)
    silent, long = [], []
    for _ in range(150):
        key, value = draw.choice(KEYS), draw.choice(VALUES)
        tree, path = tree_with(key, value)
        try:
            config = validate_config(tree)
        except UserError as error:
            long += [line for line in str(error).splitlines() if len(line) > 400]
            continue
        held = value_at(config, path)
        if not same(value, held) or not is_possible(path.rpartition(".")[2], held):
            silent.append((key, value, held))
    assert not silent
    assert not long
