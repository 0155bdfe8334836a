"""A small recipe that has everything that could depend on placement or on a restart."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

RECIPE: dict[str, Any] = {
    "model": {"name": "mlp", "features": (32, 32), "dropout": 0.1},
    "task": {"name": "image_classification", "label_smoothing": 0.1},
    "data": {
        "source": {"name": "generated_images", "classes": 4, "examples": 150},
        "augment": "cutout(3)",
        "prepare": "scale()",
    },
    "optimizer": {"name": "adamw", "learning_rate": 1e-2},
    "schedule": {"name": "cosine", "warmup": "1 steps"},
    "batch_size": 16,
    "train_for": "60 steps",
    "evaluate_every": "10 steps",
    "checkpoint_every": "10 steps",
    "log_every": "7 steps",
    "ema": 0.9,
    "writers": {},
}

Recipe = Callable[..., dict[str, Any]]


@pytest.fixture
def recipe() -> Recipe:
    """`recipe(optimizer__learning_rate=0.1)`: the recipe with some keys changed."""

    def changed(**changes: Any) -> dict[str, Any]:
        config = copy.deepcopy(RECIPE)
        for path, value in changes.items():
            *sections, key = path.split("__")
            at = config
            for section in sections:
                at = at.setdefault(section, {})
            at[key] = value
        return config

    return changed
