"""Writes the golden files: what must stay as it is, as the tree that this is run in has it.

    python -m tests.golden.make              all of them: five minutes
    python -m tests.golden.make help configs only these

A file that changes with intent is written anew, and the commit says what changed and why.
"""

import ast
import hashlib
import inspect
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Every import of the package that the golden tests make: when a module moves, these lines follow.
from lepton_jax import api
from lepton_jax.ablation.question.experiment_file import load_experiment
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.config.config_file import load_config
from lepton_jax.config.trialable import hyper_of, program_key
from lepton_jax.training.build import build_program
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.trees import flatten_tree
from tests.golden import shapes
from tests.golden.compare import write
from tests.golden.door import ROOT, commands, inside, launch

EXPERIMENTS = ("asha.py", "mnist1d.py", "optimizers.py:digits", "optimizers.py:mnist1d",
               "seed_recipe.py")  # fmt: skip
RECIPES = sorted(f"configs/{path.name}" for path in (ROOT / "configs").glob("*.py"))

DIGITS = "configs/digits_cnn.py:tiny"
IMAGES = "configs/cifar10_resnet20.py:tiny"
GOOGLENET = "configs/cifar10_googlenet.py:tiny"
GPT = "configs/shakespeare_gpt.py:tiny"
GROUPS = {"optimizer.groups.a.pattern": "head", "optimizer.groups.b.pattern": "blocks"}
CHANGED: list[tuple[str, dict[str, str]]] = [
    (DIGITS, {"seed": "3"}),
    (DIGITS, {"optimizer.learning_rate": "0.5"}),
    (DIGITS, {"optimizer.weight_decay": "0.0"}),
    (DIGITS, {"optimizer.weight_decay": "0.3"}),
    (DIGITS, {"optimizer.b1": "0.5", "optimizer.eps": "1e-3"}),
    (DIGITS, {"optimizer.b1": "0.0"}),
    (DIGITS, {"optimizer.clip_norm": "2.0"}),
    (DIGITS, {"optimizer.name": "sgd", "optimizer.learning_rate": "0.1"}),
    (DIGITS, {"optimizer.name": "sgd", "optimizer.learning_rate": "1.0",
              "optimizer.momentum": "0.9", "optimizer.nesterov": "true"}),
    (DIGITS, {"optimizer.name": "muon", "optimizer.learning_rate": "0.02"}),
    (DIGITS, GROUPS | {"optimizer.groups.a.learning_rate": "0.0"}),
    (DIGITS, GROUPS | {"optimizer.groups.b.weight_decay": "0.0"}),
    (DIGITS, GROUPS | {"optimizer.groups.a.learning_rate": "3.0"}),
    (DIGITS, GROUPS | {"optimizer.groups.b.weight_decay": "2.0"}),
    (DIGITS, {"ema": "0.0"}),
    (DIGITS, {"ema": "0.5"}),
    (DIGITS, {"model.dropout": "0.0"}),
    (DIGITS, {"model.dropout": "0.25"}),
    (DIGITS, {"model.normalize": "false"}),
    (DIGITS, {"task.label_smoothing": "0.0"}),
    (DIGITS, {"task.label_smoothing": "0.2"}),
    (DIGITS, {"schedule.name": "constant"}),
    (DIGITS, {"schedule.name": "linear", "schedule.warmup": "2 steps"}),
    (DIGITS, {"schedule.end": "0.1", "train_for": "500 examples"}),
    (DIGITS, {"data.augment": ""}),
    (DIGITS, {"data.augment": "flip|mixup(0.2)"}),
    (DIGITS, {"data.augment": "flip() | mixup(alpha=0.4)"}),
    (DIGITS, {"data.augment": "flip|mixup(0.0)"}),
    (DIGITS, {"data.valid_fraction": "0.25", "data.split_seed": "1"}),
    (DIGITS, {"data.decode": "resize(8)", "data.prepare": "scale(mean=3.0, std=(2.0,))"}),
    (DIGITS, {"batch_size": "16", "accumulate": "2"}),
    (DIGITS, {"precision": "float64"}),
    (DIGITS, {"precision": "bfloat16", "strategy.name": "mesh", "strategy.fsdp": "2"}),
    (DIGITS, {"best.metric": "valid/accuracy", "best.mode": "max", "evaluate_every": "2 steps"}),
    (DIGITS, {"log_every": "1 steps", "checkpoint_every": "2 steps", "keep_last": "1",
              "writers": "{}", "profile": "(1, 1)"}),
    (DIGITS, {"evals.again.split": "test", "metrics.f1.name": "classification"}),
    (IMAGES, {"data.augment": "rand_augment(2, 5.0)|flip"}),
    (IMAGES, {"data.augment": "rand_augment(2)|cutout(8)"}),
    (IMAGES, {"data.augment": "random_resized_crop(0.3, aspect=1.5)|cutmix(1.0, probability=0.5)"}),
    (IMAGES, {"data.augment": "brightness(0.4)|contrast(0.0)|saturation(0.2)|zoom(0.8, 1.5)"}),
    (GOOGLENET, {"model.auxiliary": "0.0"}),
    (GOOGLENET, {"model.auxiliary": "0.5", "model.dropout": "0.0"}),
    ("configs/sst2_bert_mlm.py:tiny", {"task.rate": "0.3"}),
    ("configs/multi30k_transformer.py:tiny", {"task.label_smoothing": "0.2"}),
    (GPT, {"lora.rank": "2", "lora.alpha": "4.0", "lora.train": "norm"}),
    (GPT, {"lora.rank": "2", "lora.alpha": "8.0", "lora.train": "norm", "ema": "0.9"}),
    (GPT, {"model.dropout": "0.1", "model.kv_heads": "2", "model.positions": "rope"}),
    (GPT, {"model.scan": "true", "model.remat": "full"}),
    (GPT, {"data.tokenizer.name": "wordpiece", "data.tokenizer.size": "64"}),
]  # fmt: skip
"""Recipes with keys changed: each number that trials vary, on, off and other, and much beside."""

LEAVES = {
    **{f"{recipe}:tiny": (f"{recipe}:tiny", {}) for recipe in RECIPES},
    **{
        f"{path} {json.dumps(change)}": (path, change)
        for path, change in CHANGED
        if {"ema", "lora.rank", "optimizer.name", "model.scan"} & change.keys()
        or change.keys() > GROUPS.keys()
    },
}
"""By a name, the recipes and changes whose checkpoints are looked at."""


def variants(recipe: str) -> list[str]:
    """Returns the arguments that a recipe's get_config knows: what it compares `arg` with."""
    known = {""}
    for node in ast.walk(ast.parse((ROOT / recipe).read_text())):
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == "arg":
            known |= {
                c.value
                for compared in node.comparators
                for c in ast.walk(compared)
                if isinstance(c, ast.Constant)
            }
    return sorted(known)


def configs() -> dict[str, Any]:
    """Returns the config of every recipe and variant, its fingerprint and its program key."""
    every: list[tuple[str, dict[str, str]]] = [
        (f"{recipe}:{arg}" if arg else recipe, {}) for recipe in RECIPES for arg in variants(recipe)
    ]
    return dict(_config(path, change) for path, change in every + CHANGED)


def _config(path: str, change: Mapping[str, str]) -> tuple[str, Any]:
    """Returns the name of a recipe with keys changed, and what `configs` says of it."""
    with inside(ROOT):
        config, _ = load_config(path, change)
    text = config.to_json()
    found = {
        "config": config.to_dict(),
        "config.json": hashlib.sha256(text.encode()).hexdigest(),
        "fingerprint": config.fingerprint(),
        "hyper": hyper_of(config),
        "program_key": program_key(config),
    }
    return f"{path} {json.dumps(change)}" if change else path, found


def trials() -> dict[str, dict[str, str]]:
    """Returns the folder names of each experiment's trials, and the program key of each."""
    with inside(ROOT):
        asked = {name: load_experiment(f"experiments/{name}") for name in EXPERIMENTS}
        return {name: {t.name: t.program for t in expand_trials(e)} for name, e in asked.items()}


def checkpoint_leaves(name: str) -> dict[str, Any]:
    """Returns the name, shape and dtype of each leaf of a checkpoint, and the names of the sums.

    `name`: one of `LEAVES`. Nothing is trained: the state is traced, the data is made.
    """
    path, change = LEAVES[name]
    with inside(ROOT):
        config, _ = load_config(path, change)
    program = build_program(config, load_data(config))
    leaves = flatten_tree(single_device_layout(program).like)
    return {
        "leaves": {k: f"{v.dtype}{list(v.shape)}" for k, v in leaves.items()},
        "sum_names": list(program.training.sum_names),
    }


def help_texts() -> dict[str, str]:
    """Returns what `launch.py --help` and `launch.py COMMAND --help` print."""
    names = ["", *commands()]
    with inside(ROOT):
        return {name or "launch.py": launch(*filter(None, [name]), "--help").out for name in names}


def flags() -> dict[str, dict[str, Any]]:
    """Returns each command's parameters, which are its flags, with their defaults."""
    signatures = {name: inspect.signature(getattr(api, name)) for name in commands()}
    return {
        name: {
            p.name: "required" if p.default is p.empty else p.default
            for p in signature.parameters.values()
        }
        for name, signature in signatures.items()
    }


def every_leaf() -> dict[str, Any]:
    """Returns the leaves of all `LEAVES`."""
    return {name: checkpoint_leaves(name) for name in LEAVES}


def main(names: list[str]) -> None:
    """Writes the golden files of these names, or all."""
    made = {
        "configs": configs,
        "trials": trials,
        "checkpoint_leaves": every_leaf,
        "flags": flags,
        "help": help_texts,
    }
    walked = ("json_shapes", "bundle", "record")
    for name in names or [*made, *walked]:
        if name in made:
            write(name, made[name]())
    if not names or set(names) & set(walked):
        with tempfile.TemporaryDirectory() as folder:
            for name, value in shapes.walk(Path(folder)).items():
                write(name, value)


if __name__ == "__main__":
    main(sys.argv[1:])
