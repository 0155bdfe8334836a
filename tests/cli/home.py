"""A user's folder in which mistakes are made: records, bundles, a registry and files with faults.

`make_home` writes it. Nothing in it was trained: it is right as far as a look goes.
"""

import json
import sqlite3
from pathlib import Path

from lepton_jax.config.config_file import load_config
from lepton_jax.tracking.record import Record

ROOT = Path(__file__).parent.parent.parent

CONFIG = """from ml_collections import ConfigDict


def get_config():
    config = ConfigDict(
        dict(
            model=dict(name="cnn"),
            task=dict(name="image_classification"),
            data=dict(source=dict(name="generated_images"), prepare="scale()"),
            optimizer=dict(name="adamw", learning_rate=1e-3),
            train_for="3 steps",
            batch_size=8,
        )
    )
"""

FILES = {
    # what holds something, as far as a look goes
    "file": "{}",
    "runs/digis/notes.txt": "{}",
    "bundles/digis/notes.txt": "{}",
    "runs/rates/experiment.json": '{"trials": [{}, {}]}',
    # configs
    "mine.py": f"{CONFIG}    return config\n",
    "syntax.py": f"{CONFIG}    return config)\n",
    "packages.py": f"import nosuchpackage\n{CONFIG}    return config\n",
    "raises.py": f"{CONFIG}    config.model.width = 1 / 0\n    return config\n",
    "renamed.py": f"{CONFIG}    return config\n".replace("get_config", "get_cfg"),
    "plain.py": "def get_config():\n    return {'seed': 1}\n",
    "nothing.py": CONFIG,
    "misspelt.py": f"{CONFIG}    config.batchsize = 4\n    return config\n",
    "cut.json": '{"model": {"name": "cnn"},',
    "list.json": "[1, 2]",
    "config.yaml": "model: cnn\n",
    # data
    "rows.csv": "text,clas\n" + "good,1\nbad,0\n" * 20,
    "ragged.csv": "text,label\ngood,1\nbad\n",
    "empty.csv": "",
    "cut.jsonl": '{"text": "good", "label": 1}\n{"text": "bad", "lab\n',
    "not.npz": "PK",
    "images/readme.txt": "",
    "notes.txt": "no image\n",
    "seven.npy": "no array\n",
    "tokenizer.json": "{",
}
"""The files with text, by their paths."""

EXPERIMENTS = {
    "unknown_key.py": "variants=[Variant('a', {'model.widht': 3})]",
    "unknown_value.py": "variants=[Variant('a', {'optimizer.name': 'adamx'})]",
    "unknown_baseline.py": "variants=[Variant('small'), Variant('large')], baseline='smal'",
    "no_variants.py": "",
    "twice.py": "variants=[Variant('a'), Variant('a')]",
}
"""Experiment files, by what they compare."""


def make_home(folder: Path) -> None:
    """Writes the folder: records, bundles and a registry, and files with mistakes in them."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name, compared in EXPERIMENTS.items():
        (folder / name).write_text(
            "from lepton_jax.ablation.experiment import Experiment, Variant\n\n\n"
            "def get_experiment():\n"
            f"    return Experiment(question='?', config='digits_cnn:tiny', {compared})\n"
        )
    signature = {"inputs": {"image": {"dtype": "uint8", "shape": [8, 8, 1]}}}
    for bundle in ("bundles/digits", "runs/digits/bundle"):
        (folder / bundle).mkdir(parents=True)
        (folder / bundle / "manifest.json").write_text("{}")
        (folder / bundle / "signature.json").write_text(json.dumps(signature))
    config = load_config(f"{ROOT}/configs/digits_cnn.py:tiny")[0].to_json()
    for name in ("digits", "other"):
        Record.create(folder / "runs" / name, config, {}).close()
    for step in (10, 20):
        (folder / f"runs/digits/checkpoints/{step}").mkdir(parents=True)
    with sqlite3.connect(folder / "registry.db") as connection:
        connection.execute("CREATE TABLE registered_models (name TEXT)")
        connection.execute("INSERT INTO registered_models VALUES ('digits')")
