"""`import lepton_jax as lj` is enough: every function is there, whatever else was imported."""

import subprocess
import sys
from pathlib import Path

import pytest

import lepton_jax as lj
from lepton_jax import api

ROOT = Path(__file__).parent.parent.parent


def test_every_function_of_the_api_is_one_of_the_package_also_beside_a_folder_of_its_name():
    import lepton_jax.export.bundle
    import lepton_jax.plan.plan  # noqa: F401

    for name in (n for n in vars(api) if not n.startswith("_")):
        assert getattr(lj, name) is getattr(api, name)
        assert name in dir(lj)


def test_a_name_that_is_none_gets_the_nearest():
    with pytest.raises(AttributeError, match=r"'trian' \(did you mean 'train'\?\)"):
        lj.trian  # noqa: B018


def test_importing_the_package_imports_next_to_nothing():
    code = (
        "import sys, lepton_jax\n"
        "more = {m for m in sys.modules if m.startswith('lepton_jax.') or m in ('jax', 'numpy')}\n"
        "sys.exit(', '.join(more - {'lepton_jax.version'}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_ipython_shows_a_mistake_as_one_line():
    for error in (lj.UserError("batch_size = 0"), lj.WorkError("the disk is full")):
        assert error._render_traceback_() == [f"{type(error).__name__}: {error}"]
