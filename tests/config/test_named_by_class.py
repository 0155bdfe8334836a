"""A component may be given as the class or function itself."""

import optax
import pytest

from lepton_jax.config.config_file import resolve_config
from lepton_jax.config.plain import name_component
from lepton_jax.errors import UserError
from tests.user_project.heads import Focal, TwoHeaded

CONFIG = {
    "model": {"name": TwoHeaded},
    "task": {"name": Focal},
    "data": {"source": {"name": "digits"}},
    "optimizer": {"name": optax.sgd, "learning_rate": 0.1},
    "train_for": "1 steps",
    "batch_size": 8,
}


def test_a_class_is_its_name_in_the_config():
    config, notes = resolve_config(CONFIG)
    assert config.model.name == "tests.user_project.heads:TwoHeaded"
    assert config.task.name == "tests.user_project.heads:Focal"
    assert config.optimizer.name == "optax:sgd"
    assert not notes


def test_an_override_may_be_a_class():
    config, _ = resolve_config(CONFIG, {"task.name": Focal, "seed": 3})
    assert config.task.name == "tests.user_project.heads:Focal"


def test_a_class_that_cannot_be_found_by_a_name_is_refused_with_the_cure():
    class Local(TwoHeaded):
        pass

    said = r"model\.name: .*define it at the top of a module, .*'my_pkg\.parts:Local' or the class"
    with pytest.raises(UserError, match=said):
        resolve_config({**CONFIG, "model": {"name": Local}})


def test_a_class_of_a_notebook_is_named_and_the_note_says_what_that_means(monkeypatch):
    import __main__

    class Cell(TwoHeaded):
        __module__, __qualname__ = "__main__", "Cell"

    assert name_component(Cell) == ""
    monkeypatch.setattr(__main__, "Cell", Cell, raising=False)
    config, notes = resolve_config({**CONFIG, "model": {"name": Cell}})
    assert config.model.name == "__main__:Cell"
    assert "defined in __main__" in notes[0]
    tree = config.to_dict()
    monkeypatch.delattr(__main__, "Cell")
    with pytest.raises(UserError, match="define it here before it is used"):
        resolve_config(tree)
