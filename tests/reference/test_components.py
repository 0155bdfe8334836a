"""What `describe` and `list` say of components is what the components themselves say."""

from pathlib import Path

import pytest

from lepton_jax.config.components import TABLES, component_keys, resolve_component
from lepton_jax.config.schema import optax_keys, signature_keys
from lepton_jax.reference.components import describe_component, traced_kinds
from lepton_jax.reference.description import describe_keys
from lepton_jax.reference.sections import list_sections

EVERY = [(kind, name) for kind, table in TABLES.items() for name in table]

USERS = '''
import functools
from dataclasses import dataclass
from typing import Literal, Optional

import jax
from flax import nnx
from lepton_jax.config import schema
from lepton_jax.config.schema import Later, Rate, Running as Free

SIZES = (8, 16)
Mode = Literal["a", "b"]

class Base(nnx.Module):
    """A base."""

    def __init__(self, input_shape, outputs, *, sizes: tuple[int, ...] = SIZES,
                 rate: "Rate" = 0.5, mode: Mode = "a", late: Later[bool] = False, plain=2,
                 speed: Free[schema.PositiveInt | None] = None,
                 other: jax.Array | None = None, rngs):
        """Builds it.

        Args:
          sizes (tuple): of the layers.
            There may be many.
          rate, speed: two numbers.
        """

class Net(Base):
    pass

@dataclass
class Data:
    """Some data."""

    path: str
    size: int = 3

def task(spec, *, weight: float = 2.0):
    """Does a task. It has one key."""

def slow(learning_rate, momentum: float | None = None, decay=0.9, *, nesterov=False): ...

slower = functools.partial(slow, decay=0.99)
def late(spec, *, mode: Optional["Late"] = None): ...

Late = Literal["x"]
made = (lambda: task)()
'''


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of a user's own, by its name."""
    (tmp_path / "described_parts.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "described_parts"


@pytest.mark.parametrize(("kind", "name"), EVERY, ids=lambda word: word.replace(" ", "_"))
def test_keys_that_are_read_from_the_source_are_those_of_the_component(kind: str, name: str):
    described = describe_component(kind, name)
    component = resolve_component(kind, name)
    keys = optax_keys(component) if kind == "optimizer" else signature_keys(component)
    assert component_keys(kind, name) == keys
    meanings = {key.name: key.meaning for key in described.keys}
    assert described.keys == describe_keys(keys, meanings, traced=kind in traced_kinds())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("model", "Base"),
        ("model", "Net"),
        ("source", "Data"),
        ("task", "task"),
        ("task", "late"),
        ("task", "made"),
        ("optimizer", "slow"),
        ("optimizer", "slower"),
    ],
)
def test_a_users_own_component_is_described_as_it_is_imported(users: str, kind: str, name: str):
    described = describe_component(kind, f"{users}:{name}")
    keys = component_keys(kind, f"{users}:{name}")
    assert [(k.name, k.default, k.running) for k in described.keys] == [
        (k.name, k.default, k.running) for k in describe_keys(keys, {}, traced=True)
    ]


def test_a_users_docstring_says_what_the_keys_mean(users: str):
    keys = {key.name: key for key in describe_component("model", f"{users}:Net").keys}
    assert keys["sizes"].meaning == "Of the layers. There may be many."
    assert keys["rate"].meaning == keys["speed"].meaning == "Two numbers."
    assert (keys["rate"].type, keys["rate"].trialable) == ("float in [0, 1)", True)
    assert (keys["speed"].type, keys["speed"].running) == ("int > 0 or None", True)
    assert keys["mode"].type == "'a' or 'b'"
    assert keys["other"].type == "jax.Array or None"


def test_every_component_and_each_of_its_keys_has_a_sentence():
    found = [describe_component(kind, name) for kind, name in EVERY]
    silent = [d.title for d in found if not d.summary]
    silent += [f"{d.title}: {k.name}" for d in found for k in d.keys if not k.meaning]
    assert not silent


def test_every_key_of_the_config_has_a_sentence():
    sections = list_sections()
    assert len(sections) >= 6
    assert not [
        f"{section.title}.{key.name}"
        for section in sections
        for key in section.keys
        if not key.meaning
    ]
