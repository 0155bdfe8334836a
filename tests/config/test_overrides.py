"""What a config may be asked for: numbers in their ranges, overrides in any form, and names."""

import json
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict, FrozenConfigDict, config_dict

from lepton_jax.config.components import TABLES, component_keys
from lepton_jax.config.config_file import load_config, resolve_config
from lepton_jax.config.schema import RANGES, describe_type
from lepton_jax.config.validation import change_config, validate_config
from lepton_jax.errors import UserError
from lepton_jax.training.durations import Durations
from lepton_jax.training.optimizer import label_groups
from tests.config.test_config import GOOD

BASE = validate_config(GOOD)


def refused(call: Callable[[], Any]) -> str:
    """What the call is refused with: three lines at most."""
    with pytest.raises(UserError) as e:
        call()
    assert str(e.value).count("\n") < 3
    return str(e.value)


BELOW, ABOVE = -1e-9, 1.0
OUT_OF_RANGE = {
    "optimizer.groups": (
        {"a": {"pattern": "x", "learning_rate": -1}},
        {"a": {"pattern": "x", "weight_decay": math.inf}},
        {"a": {"pattern": "*.bias"}},
        {"a": {"pattern": "("}},
        {"": {"pattern": "x"}},
    ),
    "lora": (
        {"rank": 0, "alpha": 1.0},
        {"rank": 2, "alpha": 0.0},
        {"rank": 2, "alpha": 1e-60},
        {"rank": 2, "alpha": 1.0, "pattern": "[q"},
        {"rank": 2, "alpha": 1.0, "train": "*"},
    ),
    "optimizer.learning_rate": (1e39, BELOW, math.inf, math.nan, "nan", "inf", "1e400", 10**400),
    "optimizer.weight_decay": (-1, math.inf),
    "optimizer.clip_norm": (1e-60, 0, -1, math.nan, "-1"),
    "optimizer.b1": (1 - 1e-9, ABOVE, 1.5, BELOW, math.nan),
    "optimizer.b2": (ABOVE, -0.9),
    "optimizer.eps": (-1e-8,),
    "ema": (1 - 1e-12, ABOVE, -0.1, math.nan),
    "model.dropout": (ABOVE, -0.5),
    "model.features": ((16, -1), (0,), "(16,-1)"),
    "task.label_smoothing": (ABOVE, -0.1),
    "data.valid_fraction": (ABOVE, -0.1),
    "data.source": (
        {"name": "generated_images", "examples": 0},
        {"name": "generated_images", "classes": -1},
        {"name": "generated_images", "size": (8, 0, 1)},
        {"name": "generated_tokens", "length": 0},
    ),
    "data.split_seed": (-1, 2**32, "4294967296"),
    "data.workers": (-1,),
    "data.buckets": ((0, 8), (-1,)),
    "data.augment": ("pad_crop(-1)", "zoom(least=-0.5)", "mixup(-0.2)", "cutout(0)"),
    "data.prepare": ("scale(std=0)", "scale(std=(1.0, 0.0, 1.0))"),
    "data.decode": ("resize(0)", "center_crop(-8)"),
    "seed": (-1, 2**32, 2**63, 2**70, "1234567890123"),
    "batch_size": (0, -8, 10**30),
    "accumulate": (0, -1),
    "keep_last": (0, -1),
    "hang_timeout": (0, -1),
    "profile": ((-1, 5), (0, 0)),
    "train_for": ("0 steps", "-3 steps", "nan epochs", "1e400 steps", "1.5 steps"),
    "evaluate_every": ("0 epochs", "-1 epochs"),
    "schedule.end": (-0.1, math.nan),
}


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, values in OUT_OF_RANGE.items() for value in values],
    ids=lambda x: str(x)[:24],
)
def test_a_number_out_of_its_range_is_refused_by_name(key: str, value: Any):
    assert refused(lambda: resolve_config(GOOD, {key: value})).startswith(f"--config.{key}")


def test_of_every_float_of_a_component_something_is_known():
    """A float without a range may be negative: it is named here, with the reason."""
    free = {("transform", "scale", "mean")}  # an offset
    for kind, table in TABLES.items():
        if kind == "optimizer":
            continue
        for name in table:
            for key, declared in component_keys(kind, name).items():
                said = describe_type(declared.annotation)
                if (
                    any(t in said.split() for t in ("int", "float"))
                    and (kind, name, key) not in free
                ):
                    bounded = [m for m in declared.marks if m in RANGES]
                    assert bounded or any(r in said for r in RANGES), (kind, name, key)


def test_of_every_number_of_an_optimizer_the_range_is_known():
    for name in TABLES["optimizer"]:
        for key, declared in component_keys("optimizer", name).items():
            if declared.annotation is not bool:
                assert any(m in RANGES for m in declared.marks), (name, key)


@pytest.mark.parametrize("wrong", [-1, 2**32, 2**64 + 1, 1.5, "x", None])
def test_change_and_override_obey_one_range(wrong: Any):
    refused(lambda: change_config(BASE, {"seed": wrong}))
    refused(lambda: resolve_config(BASE, {"seed": wrong}))


def test_an_optimizer_s_missing_rate_is_explained_by_what_was_dropped():
    for call in (
        lambda: change_config(BASE, {"optimizer.name": "sgd"}, "variant 'sgd'"),
        lambda: resolve_config(BASE, {"optimizer.name": "sgd"}),
    ):
        said = refused(call)
        assert "optimizer.learning_rate: missing" in said
        assert "optimizer: sgd, from its defaults (learning_rate" in said


FORMS: dict[str, Callable[[], Any]] = {
    "dict": lambda: GOOD,
    "Config": lambda: BASE,
    "ConfigDict": lambda: ConfigDict(GOOD),
    "locked": lambda: ConfigDict(GOOD).lock(),
    "FrozenConfigDict": lambda: FrozenConfigDict(GOOD),
    "dict of ConfigDicts": lambda: GOOD | {"model": ConfigDict(GOOD["model"])},
}
VALUES: dict[str, tuple[Any, Any]] = {
    "text": ({"batch_size": "64"}, ("batch_size", 64)),
    "int": ({"batch_size": 64}, ("batch_size", 64)),
    "numpy int": ({"batch_size": np.int64(64)}, ("batch_size", 64)),
    "float": ({"optimizer.learning_rate": 0.5}, ("optimizer.learning_rate", 0.5)),
    "jax scalar": ({"optimizer.learning_rate": jnp.float32(0.5)}, ("optimizer.learning_rate", 0.5)),
    "tuple": ({"model.features": (4, 8)}, ("model.features", [4, 8])),
    "array": ({"model.features": np.array([4, 8])}, ("model.features", [4, 8])),
    "bool": ({"model.normalize": True}, ("model.normalize", True)),
    "None": ({"optimizer.clip_norm": None}, ("optimizer.clip_norm", None)),
    "path": ({"init_from": Path("a/b")}, ("init_from", "a/b")),
    "section": ({"optimizer": {"learning_rate": 0.5}}, ("optimizer.learning_rate", 0.5)),
    "new section": ({"evals": {"more": {"split": "x"}}}, ("evals.more.split", "x")),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", VALUES)
def test_overrides_hold_in_every_form_of_a_config(form: str, value: str):
    config, (overrides, (key, expected)) = FORMS[form](), VALUES[value]
    before = resolve_config(config)[0]
    found: Any = resolve_config(config, overrides)[0].to_dict()
    for name in key.split("."):
        found = found[name]
    assert found == expected or json.dumps(found) == json.dumps(expected)
    assert resolve_config(config)[0] == before == BASE, "what was given is left as it is"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"batch_sise": 4}, "batch_sise: no such key (did you mean 'batch_size'?)"),
        ({"optimizer.lerning_rate": 4}, "did you mean 'learning_rate'"),
        ({"batch_size": -4}, "expected int > 0, got -4"),
        ({"batch_size.x": 4}, "batch_size is a value, not a section"),
        (["seed=3"], "overrides: expected a mapping such as {'seed': 3}"),
        ({3: 4}, "3: no such key"),
        ({"": 4}, "no such key"),
        ({"model": "mlp"}, "model: expected a section"),
        ({"model.name": type("Local", (), {})}, "give 'my_pkg.parts:Local' or the class"),
    ],
)
def test_wrong_overrides_are_refused_in_every_form(form: str, overrides: Any, said: str):
    assert said in refused(lambda: resolve_config(FORMS[form](), overrides))


@pytest.mark.parametrize("given", [3, None, [1], b"x", {1}, object], ids=repr)
def test_what_is_no_config_is_refused(given: Any):
    assert "expected a config file, a ConfigDict or a dict" in refused(
        lambda: resolve_config(given)
    )


def opened(**model: Any) -> ConfigDict:
    return ConfigDict(GOOD | {"model": GOOD["model"] | model})


def test_a_placeholder_is_filled_or_named():
    config = opened(hidden=config_dict.required_placeholder(int))
    assert "model.hidden: the config leaves it open" in refused(lambda: resolve_config(config))
    for value in (7, "7"):
        assert resolve_config(config, {"model.hidden": value})[0].model.keys["hidden"] == 7
    assert "leaves it open" in refused(lambda: resolve_config(config))


def test_a_key_of_a_section_that_is_left_out_is_of_its_default_component():
    tree = {k: v for k, v in GOOD.items() if k != "schedule"}
    schedule = resolve_config(tree, {"schedule.warmup": "1 steps"})[0].schedule
    assert (schedule.name, schedule.keys["warmup"]) == ("constant", "1 steps")


def test_references_follow_an_override_and_leave_the_given_config_alone():
    config = ConfigDict(GOOD | {"seed": 2})
    config.data.split_seed = config.get_ref("seed") * 2
    assert resolve_config(config, {"seed": 5})[0].data.split_seed == 10
    assert (config.seed, config.data.split_seed) == (2, 4)


def test_references_arrays_and_paths_stand_for_their_values():
    config = ConfigDict(GOOD, type_safe=False)
    config.model.features = (config.get_ref("batch_size"), np.int32(8))
    config.optimizer.learning_rate = np.float64(0.5)
    config.init_from = Path("a")
    found = resolve_config(config)[0]
    assert found.model.keys["features"] == (32, 8)
    assert type(found.optimizer.learning_rate) is float
    assert json.loads(found.to_json())["init_from"] == "a"


def test_none_unsets_a_text():
    given = GOOD | {"init_from": "runs/a"}
    for none in (None, "None"):
        found = resolve_config(given, {"init_from": none, "data.augment": none})[0]
        assert found.init_from == found.data.augment.text == ""
    assert "--config.train_for: expected a duration" in refused(
        lambda: resolve_config(given, {"train_for": "None"})
    )


def recipe(folder: Path, text: str) -> str:
    file = folder / "recipe.py"
    file.write_text(textwrap.dedent(text) + f"\nCONFIG = {GOOD!r}\n")
    return str(file)


def test_a_config_file_may_hold_dataclasses_and_late_annotations(tmp_path: Path):
    file = recipe(
        tmp_path,
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import Literal
        from ml_collections import ConfigDict

        @dataclass
        class Size:
            width: int = 8

        def get_config(arg: Literal["", "wide"] = "") -> ConfigDict:
            config = ConfigDict(CONFIG)
            config.model.hidden = Size(16).width if arg else Size().width
            return config
        """,
    )
    assert load_config(file)[0].model.keys["hidden"] == 8
    assert load_config(f"{file}:wide")[0].model.keys["hidden"] == 16
    said = refused(lambda: load_config(f"{file}:wyde"))
    assert "recipe.py has no form ':wyde' (did you mean 'wide'?); it has: :wide" in said


def test_a_path_object_and_a_home_are_config_files(tmp_path: Path, monkeypatch: Any):
    file = recipe(
        tmp_path,
        """
        from ml_collections import ConfigDict
        def get_config(arg=""):
            return ConfigDict(CONFIG | {"seed": int(arg or 0)})
        """,
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_config(Path(file), {"ema": 0.5})[0].ema == 0.5
    assert resolve_config("~/recipe.py:3")[0].seed == 3


@pytest.mark.parametrize("text", ["[1]", "3", "null", '"x"', "{", "[" * 5000])
def test_json_that_is_no_config_is_refused(tmp_path: Path, text: str):
    (tmp_path / "config.json").write_text(text)
    refused(lambda: load_config(f"{tmp_path}/config.json"))


RECIPES = sorted(Path("configs").glob("*.py"))
FREE = {"mnist_flow", "mnist_vae"}  # whose argument may be a classifier's folder


@pytest.mark.parametrize("file", [f for f in RECIPES if f.stem not in FREE], ids=lambda f: f.stem)
def test_a_recipe_refuses_a_form_that_it_has_not(file: Path):
    said = refused(lambda: load_config(f"{file}:tinny"))
    assert "no form ':tinny' (did you mean 'tiny'?)" in said


NUMBERS = st.one_of(
    st.integers(), st.floats(), st.just(2**32 - 1), st.booleans(), st.none(), st.text(max_size=5)
)
NUMERIC_KEYS = [
    "seed", "batch_size", "accumulate", "ema", "keep_last", "hang_timeout", "data.valid_fraction",
    "data.split_seed", "data.workers", "optimizer.learning_rate", "optimizer.weight_decay",
    "optimizer.clip_norm", "optimizer.b1", "optimizer.b2", "optimizer.eps", "model.dropout",
    "model.hidden", "task.label_smoothing", "schedule.end",
]  # fmt: skip


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.sampled_from(NUMERIC_KEYS), NUMBERS)
def test_any_value_of_a_number_is_right_or_one_sentence(key: str, value: Any):
    said, config = "", BASE
    try:
        config = resolve_config(BASE, {key: value})[0]
    except UserError as e:
        said = str(e)
    assert not said or (key in said and said.count("\n") < 3)
    assert validate_config(json.loads(config.to_json())) == config


PATHS = [
    ("source", "csv", "path"),
    ("source", "folder", "path"),
    ("source", "jsonl", "path"),
    ("source", "npz", "path"),
    ("source", "parquet", "path"),
    ("source", "saved_dataset", "path"),
    ("tokenizer", "pretrained", "path"),
    ("metric", "frechet", "classifier"),
]


@pytest.mark.parametrize(("kind", "name", "key"), PATHS)
def test_no_path_of_a_component_is_empty(kind: str, name: str, key: str):
    section = {"name": name, key: ""}
    where = {"source": "data.source", "tokenizer": "data.tokenizer", "metric": "metrics.m"}[kind]
    said = refused(lambda: resolve_config(GOOD, {where: section}))
    assert f"{where}.{key}: expected a path, got '' (is a variable unset?)" in said
    given = {where: section | {key: Path("~/a")}}
    if kind == "source":
        assert resolve_config(GOOD, given)[0].data.source.keys[key] == "~/a"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"at": ("5 epochs", "2 epochs")}, "expected points in rising order"),
        ({"at": ("100 steps", "1 epochs")}, "expected points in rising order"),
        ({"at": ("-1 epochs",)}, "schedule.at"),
        ({"at": "5 epochs"}, "expected a tuple of duration"),
        ({"at": ("5 epochs",), "warmup": "99999 steps"}, "longer than the run"),
    ],
    ids=str,
)
def test_a_schedule_fits_the_run(schedule: dict[str, Any], said: str):
    def build() -> None:
        given = GOOD | {"schedule": {"name": "piecewise", **schedule}}
        Durations(validate_config(given), train_examples=320)  # 10 steps an epoch

    assert said in refused(build)


def test_a_default_that_is_longer_than_the_run_is_told_as_one():
    short = GOOD | {"schedule": {"name": "rsqrt"}, "train_for": "9 steps"}
    said = refused(lambda: validate_config(short))
    assert "'1_000 steps', the default of rsqrt, is longer than the run" in said


def test_a_point_that_a_shorter_run_does_not_reach_is_none_to_complain_of():
    given = GOOD | {"schedule": {"name": "piecewise", "at": ("50 epochs", "99 epochs")}}
    assert Durations(validate_config(given), 320).total_steps == 100


def test_a_run_has_no_more_steps_than_can_be_counted():
    for length in ("2_147_483_648 steps", "1e300 epochs"):
        given = validate_config(GOOD | {"train_for": length})
        assert "less than 2^31" in refused(lambda given=given: Durations(given, 320))


def test_a_profile_begins_within_the_run():
    given = GOOD | {"profile": (100, 5)}
    said = refused(lambda: Durations(validate_config(given), 320))
    assert "profile = (100, 5): its first step is none of the run's 100" in said
    assert Durations(validate_config(GOOD | {"profile": (99, 5)}), 320).total_steps == 100


def test_groups_without_a_parameter_under_lora_name_the_cure():
    groups = {"norms": {"pattern": "norm"}}
    config = resolve_config(GOOD, {"optimizer.groups": groups})[0].optimizer
    tree = {f"blocks.{i}.q.kernel.lora_a": 0 for i in range(20)}
    said = refused(lambda: label_groups(config, tree))
    assert "... (20 in all)" in said
    assert said.endswith("--config.optimizer.groups={}")
