"""Puts the recipes and the experiments of this repository into the package that is installed.

Everything else about the package is in pyproject.toml.
"""

from setuptools import find_packages, setup

FOLDERS = {
    "lepton_jax.recipes.configs": "configs",
    "lepton_jax.recipes.experiments": "experiments",
}

setup(packages=[*find_packages(include=["lepton_jax*"]), *FOLDERS], package_dir=FOLDERS)
