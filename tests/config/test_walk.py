"""A number is marked where it is declared and nowhere else; the walk over a config finds it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jax.config import config_file
from lepton_jax.config.config import Config
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.config.schema import HYPER, RUNNING, Hyper, Running
from lepton_jax.config.trialable import apply_hyper, hyper_of, program_key
from lepton_jax.config.validation import change_config, parse_pipeline, validate_config
from lepton_jax.config.walk import Leaf, nest, to_tree, walk
from lepton_jax.trees import flatten_dict

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "configs").glob("*.py"))


class Net:
    """A user's model: two numbers that trials may vary, of which one is off by default."""

    def __init__(self, input_shape, outputs, *, temperature: Hyper = 0.5, gain: Hyper = 0.0, rngs):
        raise AssertionError("a config is read without building its components")


def shift(batch, noise, *, by: Hyper = 0.25, steps: int = 2):
    """A user's transform."""


def warm(total, steps, *, factor: Hyper = 0.5):
    """A user's schedule, whose numbers do not enter the step."""


def stored(*, path: Running[str] = "/a", share: float = 0.5):
    """A user's source."""


def config_of(**changes) -> Config:
    tree = {
        "model": {"name": f"{__name__}:Net"},
        "task": {"name": "image_classification"},
        "data": {"source": {"name": f"{__name__}:stored"}, "augment": f"{__name__}:shift()|flip"},
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "schedule": {"name": f"{__name__}:warm"},
        "train_for": "1 epochs",
        "batch_size": 8,
    }
    config = validate_config(tree)
    return change_config(config, changes) if changes else config


def hyper_leaves(config: Config) -> Iterator[Leaf]:
    for leaf in walk(config, open_pipelines=True):
        if HYPER in leaf.marks and leaf.value:
            yield leaf


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_marked_number_of_a_recipe_is_varied_and_names_no_program(path: Path):
    config, _ = config_file.load_config(str(path))
    leaves = list(hyper_leaves(config))
    numbers = hyper_of(config)
    augment = dict(enumerate(numbers.pop("augment")))
    varied = list(flatten_dict({**numbers, "augment": augment}).values())
    assert sorted(leaf.value for leaf in leaves) == sorted(v for v in varied if v != {})
    for leaf in leaves:
        if leaf.path[:2] != ("data", "augment"):
            other = change_config(config, {leaf.name: leaf.value / 2})
            assert program_key(other) == program_key(config), leaf.name
            assert other.fingerprint() != config.fingerprint(), leaf.name


def test_a_marked_key_of_a_users_component_is_varied_without_another_edit():
    config = config_of()
    assert hyper_of(config)["model"] == {"temperature": 0.5}
    assert hyper_of(config)["augment"] == [{"by": 0.25}, {}]
    assert hyper_of(config)["optimizer"] == {"learning_rate": 0.1, "momentum": 0.9, "groups": {}}
    for path, value in (
        ("model.temperature", 0.7),
        ("data.augment", f"{__name__}:shift(0.5)|flip"),
    ):
        assert program_key(config_of(**{path: value})) == program_key(config), path


def test_the_numbers_of_one_trial_put_into_anothers_config_make_it_the_same():
    groups = {"head": {"pattern": "head", "learning_rate": 0.5}, "rest": {"pattern": "."}}
    lora = {"rank": 2, "alpha": 4.0}
    one = config_of(**{"optimizer.groups": groups, "ema": 0.9, "lora": lora})
    augment = f"{__name__}:shift(0.3)|flip"
    other = change_config(
        one,
        {
            "model.temperature": 0.7,
            "data.augment": augment,
            "optimizer.learning_rate": 0.2,
            "optimizer.momentum": 0.8,
            "optimizer.groups.head.learning_rate": 0.1,
            "lora.alpha": 8.0,
            "ema": 0.99,
        },
    )
    applied = apply_hyper(one, hyper_of(other))
    assert hyper_of(applied) == hyper_of(other) != hyper_of(one)
    assert applied.optimizer == other.optimizer
    assert applied.data.augment.transforms == other.data.augment.transforms
    assert (applied.model, applied.lora, applied.ema) == (other.model, other.lora, other.ema)


def test_a_number_that_is_off_is_another_program():
    assert program_key(config_of(**{"model.gain": 0.1})) != program_key(config_of())
    assert hyper_of(config_of(**{"model.gain": 0.1}))["model"] == {"temperature": 0.5, "gain": 0.1}
    assert program_key(config_of(**{"optimizer.momentum": 0.0})) != program_key(config_of())
    assert program_key(config_of(**{"data.augment": f"{__name__}:shift(0.0)|flip"})) != program_key(
        config_of()
    )


def test_a_learning_rate_of_zero_is_a_number_as_any_other():
    still = config_of(**{"optimizer.learning_rate": 0.0})
    assert hyper_of(still)["optimizer"]["learning_rate"] == 0.0
    assert program_key(still) == program_key(config_of())


def test_numbers_that_do_not_enter_the_step_name_the_program():
    pipeline = f"{__name__}:shift({{}})"
    here, there = (config_of(**{"data.prepare": pipeline.format(by)}) for by in (0.1, 0.2))
    assert hyper_of(here) == hyper_of(there)
    assert program_key(here) != program_key(there)
    assert program_key(config_of(**{"schedule.factor": 0.2})) != program_key(config_of())
    assert "schedule" not in hyper_of(config_of())


def test_a_running_key_of_a_users_component_is_no_part_of_the_fingerprint():
    fingerprint = config_of().fingerprint()
    assert config_of(**{"data.source.path": "/b"}).fingerprint() == fingerprint
    assert config_of(**{"data.source.share": 0.6}).fingerprint() != fingerprint


def test_the_leaves_of_a_config_are_the_whole_of_it():
    config = config_of()
    leaves = {leaf.name: leaf for leaf in walk(config)}
    assert nest((leaf.path, to_tree(leaf.value)) for leaf in leaves.values()) == config.to_dict()
    assert list(leaves) == list(flatten_dict(config.to_dict()))
    assert RUNNING in leaves["strategy.name"].marks
    assert RUNNING not in leaves["optimizer.momentum"].marks


def test_a_pipeline_prints_as_the_text_it_came_from():
    text = "pad_crop( 4 ) |flip"
    pipeline = parse_pipeline("transform", text)
    assert str(pipeline) == text
    assert [t.name for t in pipeline] == ["pad_crop", "flip"]
    assert next(iter(pipeline)).keys["pad"] == 4
    assert not Pipeline()
    config = config_of(**{"data.augment": text})
    assert config.data.augment == pipeline
    assert config.to_dict()["data"]["augment"] == text
    assert config.computing()["data.augment"] == text


def test_every_field_of_a_section_has_a_sentence():
    tree = ast.parse((ROOT / "lepton_jax/config/config.py").read_text())
    for section in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for field, after in zip(section.body, [*section.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign):
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert said, f"{section.name}.{ast.unparse(field.target)} has no sentence"
