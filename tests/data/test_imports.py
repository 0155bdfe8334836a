"""The data layer never imports JAX: worker processes must not touch an accelerator."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import lepton_jax.data

names = [m.name for m in pkgutil.walk_packages(lepton_jax.data.__path__, "lepton_jax.data.")]
for name in ("cache", "order", "source", "loader", "sources.tfds", "text.tokenizer"):
    assert f"lepton_jax.data.{name}" in names, names
for name in names:
    importlib.import_module(name)
heavy = [m for m in ("jax", "tensorflow", "sklearn", "PIL", "grain") if m in sys.modules]
assert not heavy, f"imported with the package: {heavy}"

from lepton_jax.config.validation import parse_pipeline
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.sources.digits import digits
from lepton_jax.data.sources.tfds import tfds
from lepton_jax.errors import UserError

resize = parse_pipeline("host transform", "resize(4)")
load_dataset(digits(), decode=resize, valid_fraction=0.1, split_seed=0)
try:
    tfds(dataset="absent", data_dir="nowhere")
except UserError:
    pass
used = [m for m in ("jax", "tensorflow", "sklearn") if m in sys.modules]
assert not used, f"imported in use: {used}"
"""


def test_neither_importing_nor_decoding_imports_jax():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
