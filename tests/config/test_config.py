"""A config is validated whole, against what its components take, before anything is built."""

import json
import subprocess
import sys
import textwrap
import time
from typing import Annotated, Any

import pytest
from ml_collections import ConfigDict

from lepton_jax.config import config_file
from lepton_jax.config.config import list_differences
from lepton_jax.config.schema import NEVER_OFF, Hyper, Later, signature_keys
from lepton_jax.config.trialable import hyper_of
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError

GOOD = {
    "model": {"name": "cnn", "features": (8, 16), "dropout": 0.1},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "digits"}, "augment": "pad_crop(1)", "prepare": "scale()"},
    "optimizer": {"name": "adam", "learning_rate": 1e-3},
    "schedule": {"name": "cosine", "warmup": "1 epochs"},
    "batch_size": 32,
    "train_for": "10 epochs",
}


def with_(path: str, value: object) -> dict:
    config = json.loads(json.dumps(GOOD))
    *sections, key = path.split(".")
    at = config
    for section in sections:
        at = at.setdefault(section, {})
    at[key] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("optimzer", {"name": "adam"}, "optimzer: no such key (did you mean 'optimizer'?)"),
        ("model.featurs", (8,), "model.featurs: no such key (did you mean 'features'?)"),
        ("model.name", "cn", "model.name: no model is called 'cn' (did you mean 'cnn'?)"),
        (
            "model.features",
            ("a",),
            "model.features: expected a tuple of int > 0, got ('a',)",
        ),
        ("model.padding", "same", "expected 'SAME' or 'VALID', got 'same'"),
        ("model.dropout", 1.0, "model.dropout: expected float in [0, 1), got 1.0"),
        ("batch_size", 0, "batch_size: expected int > 0, got 0"),
        ("batch_size", "128", "batch_size: expected int, got '128'"),
        ("batch_size", True, "batch_size: expected int, got True"),
        ("batch_size", 1.5, "batch_size: expected int, got 1.5"),
        ("batch_size", 1e3, "batch_size: expected int, got 1000.0 (did you mean 1000?)"),
        ("accumulate", 3, "accumulate: 3 does not divide batch_size = 32"),
        ("train_for", "10 epoks", "'10 epoks' (did you mean '10 epochs'?)"),
        ("train_for", 10, "train_for: expected a duration such as"),
        ("train_for", "0 steps", "train_for: expected more than nothing, got '0 steps'"),
        ("schedule.warmup", "11 epochs", "longer than the run, train_for = '10 epochs'"),
        ("optimizer.beta1", 0.9, "optimizer.beta1: no such key (did you mean 'b1'?)"),
        ("optimizer.name", "adamx", "no optimizer is called 'adamx' (did you mean 'adamax'?)"),
        ("data.augment", "pad_crp(1)", "no transform is called 'pad_crp' (did you mean 'pad_crop'"),
        ("data.augment", "pad_crop(pda=1)", "pad_crop: pda: no such key (did you mean 'pad'?)"),
        ("data.augment", "pad_crop(os.getcwd())", "arguments must be plain literals"),
        ("data.augment", "flip||flip", "has an empty part"),
        ("best.mode", "maximum", "expected 'max' or 'min', got 'maximum'"),
        ("seed", -1, "seed: expected int in [0, 2^32), got -1"),
        ("evals", {"x": {"splt": "test"}}, "evals.x.splt: no such key (did you mean 'split'?)"),
        ("writers", {"tensorbord": {}}, "no writer is called 'tensorbord'"),
        ("model", "cnn", "model: expected a section"),
        ("model.name", "no_such_pkg.x:Net", "there is no module 'no_such_pkg' on the Python path"),
        ("model.name", "lepton_jax.models.cnn:CN", "has no 'CN' (did you mean 'CNN'?)"),
        ("model.name", "lepton_jax.model.cnn:CNN", "did you mean 'lepton_jax.models'?)"),
    ],
)
def test_a_fault_names_key_value_and_what_is_allowed(path: str, value: object, said: str):
    with pytest.raises(UserError) as e:
        validate_config(with_(path, value))
    assert said in str(e.value)
    assert str(e.value).startswith("the config: ")


def test_every_fault_is_listed_at_once():
    config = with_("model.featurs", (8,)) | {"batch_size": 0, "optimzer": {}}
    del config["task"]
    with pytest.raises(UserError) as e:
        validate_config(config, "configs/x.py")
    lines = str(e.value).splitlines()
    assert lines[0] == "4 problems in configs/x.py:"
    assert len(lines) == 5


def test_config_json_reads_back_to_an_equal_config():
    config = validate_config(GOOD)
    again = validate_config(json.loads(config.to_json()))
    assert again == config
    assert again.fingerprint() == config.fingerprint()


def test_fingerprint_ignores_key_order_and_running_keys():
    config = validate_config(GOOD)
    shuffled = {k: GOOD[k] for k in reversed(GOOD)}
    assert validate_config(shuffled).fingerprint() == config.fingerprint()
    for path, value in [("log_every", "7 steps"), ("data.workers", 2), ("writers", {})]:
        assert validate_config(with_(path, value)).fingerprint() == config.fingerprint(), path
    for path, value in [("seed", 1), ("model.dropout", 0.2), ("data.valid_fraction", 0.2)]:
        assert validate_config(with_(path, value)).fingerprint() != config.fingerprint(), path


def test_where_the_data_lies_is_a_running_key():
    here, there = (
        validate_config(
            GOOD | {"data": {"source": {"name": "tfds", "dataset": "mnist", "data_dir": d}}}
        )
        for d in ("/a", "/b")
    )
    assert here.fingerprint() == there.fingerprint()


def test_differences_name_computing_keys_only():
    config = with_("seed", 1) | {"log_every": "7 steps"}
    assert list_differences(validate_config(GOOD), validate_config(config)) == ["seed: 0 -> 1"]


@pytest.mark.parametrize("other", ["10 epoch", "10.0 epochs", " 10  epochs", "1e1 epochs"])
def test_a_duration_in_other_words_is_no_difference(other: str):
    was, now = validate_config(GOOD), validate_config(with_("train_for", other))
    assert list_differences(was, now) == []
    assert list_differences(was, validate_config(with_("train_for", "10 steps"))) != []


def test_a_component_that_is_defined_anew_has_its_new_keys(monkeypatch):
    def first(*, width: int = 1): ...

    def second(*, width: int = 1, depth: int = 2): ...

    module = sys.modules[__name__]
    for component, keys in ((first, {"width"}), (second, {"width", "depth"})):
        monkeypatch.setattr(module, "component_in_a_cell", component, raising=False)
        config = validate_config(with_("model", {"name": f"{__name__}:component_in_a_cell"}))
        assert config.model.keys.keys() == keys


def test_zero_is_off_and_no_number_to_vary():
    hyper = hyper_of(validate_config(GOOD))
    assert hyper["model"] == {"dropout": 0.1}
    assert hyper["optimizer"]["learning_rate"] == 1e-3
    assert hyper_of(validate_config(with_("model.dropout", 0.0)))["model"] == {}


@pytest.fixture
def config_path(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(
        textwrap.dedent(f"""
        from ml_collections import ConfigDict
        def get_config(arg=''):
            config = ConfigDict({GOOD!r})
            config.optimizer.learning_rate = 0.1
            config.seed = 3
            config.ema = config.optimizer.get_ref('learning_rate') * 5
            return config
        """)
    )
    return str(path)


def test_overrides_keep_types_and_references_follow(config_path: str):
    config, _ = config_file.load_config(
        config_path, {"optimizer.learning_rate": "0.02", "model.features": "(4, 8)", "seed": "7"}
    )
    assert config.optimizer.learning_rate == 0.02
    assert config.ema == pytest.approx(0.1)
    assert config.model.keys["features"] == (4, 8)
    assert config.seed == 7


def test_another_component_starts_from_its_own_defaults(config_path: str):
    config, notes = config_file.load_config(
        config_path, {"optimizer.name": "sgd", "optimizer.learning_rate": "0.5"}
    )
    assert config.optimizer.name == "sgd"
    assert config.optimizer.learning_rate == 0.5
    assert "optimizer: sgd, from its defaults" in notes[0]


def test_only_keys_that_are_dropped_are_said_to_be(config_path: str):
    given = {"optimizer.name": "sgd", "optimizer.learning_rate": "0.5"}
    _, notes = config_file.load_config(config_path, given)
    assert notes == ["optimizer: sgd, from its defaults"]
    _, notes = config_file.load_config(config_path, {"model.name": "lenet"})
    assert notes == [
        "model: lenet, from its defaults (dropout, features of the config are dropped)"
    ]


def test_an_override_of_a_key_that_does_not_exist_is_a_fault(config_path: str):
    with pytest.raises(UserError, match=r"lerning_rate: no such key .did you mean 'learning_rate'"):
        config_file.load_config(config_path, {"optimizer.lerning_rate": "0.5"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def get_config(:\n", "bad.py:1: syntax error"),
        ("x = 1\n", "bad.py has no function get_config()"),
        ("def get_confg(): pass\n", "did you mean 'get_confg'"),
        ("def get_config(arg=''):\n  return {}\n", "returned dict, expected an ml_collections"),
        ("def get_config(arg=''):\n  return 1 / 0\n", "bad.py:2: ZeroDivisionError"),
        ("import no_such_module\n", "bad.py:1: ModuleNotFoundError"),
    ],
)
def test_a_broken_config_file_is_one_sentence(tmp_path, text: str, said: str):
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(UserError) as e:
        config_file.load_config(str(path))
    assert said in str(e.value)
    assert "\n" not in str(e.value)


def test_a_missing_config_file_names_the_nearest(config_path: str):
    with pytest.raises(UserError, match=r"there is no file .*did you mean 'recipe.py'"):
        config_file.load_config(config_path.replace("recipe", "recpe"))


def test_a_thousand_trials_are_validated_in_seconds():
    started = time.process_time()
    for i in range(1000):
        validate_config(with_("seed", i))
    assert time.process_time() - started < 3


def test_a_fault_that_needs_no_component_imports_no_jax(tmp_path):
    arguments = "['train', '--config=no.py', '--workdir=w']"
    check = (
        "import sys, atexit; atexit.register(lambda: print('jax' in sys.modules))\n"
        "from lepton_jax.cli.run import main\n"
        "from lepton_jax.commands import COMMANDS\n"
        f"main(COMMANDS, {arguments})"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.strip() == "False"
    assert done.stderr.startswith("error: there is no file no.py")


def test_config_dict_and_dict_are_the_same_config():
    assert validate_config(ConfigDict(GOOD).to_dict()) == validate_config(GOOD)


def test_keys_that_came_later_leave_published_fingerprints_alone():
    """Those of before there were keys of texts, of an order and of adapters."""
    published = {"mnist1d_gru": "14fafa7aae4a", "cifar10_cnn": "e8f3b29cd4a5",
                 "imagenet_vit_s16": "9fa56781400d", "markov_decoder": "246a37184111"}  # fmt: skip
    for name, fingerprint in published.items():
        assert config_file.load_config(f"configs/{name}.py")[0].fingerprint() == fingerprint, name
    given = config_file.load_config("configs/mnist1d_gru.py")[0].to_dict()
    given["data"]["order"] = "contiguous"
    assert validate_config(given).fingerprint() != published["mnist1d_gru"]


def test_a_key_without_an_annotation_is_what_its_default_is():
    def part(*, width=3, name="a", sizes=(1, 2)):
        """A component whose author annotated nothing."""

    found = {name: key.annotation for name, key in signature_keys(part).items()}
    assert found == {"width": int, "name": str, "sizes": Any}


def test_a_range_that_is_not_known_is_an_error_and_not_ignored():
    def mine(*, share: Annotated[float, "in (0, 100]"] = 1.0) -> None: ...

    with pytest.raises(UserError, match=r"'in \(0, 100\]'.*no such range.*'in \[0, 1\]'"):
        signature_keys(mine)


def test_a_wrong_module_of_lepton_jax_is_no_package_to_install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_nets.py").write_text("from lepton_jax.shema import Rate\n")
    with pytest.raises(UserError) as e:
        validate_config(with_("model.name", "my_nets:Net"))
    assert "model 'my_nets:Net': there is no module 'lepton_jax.shema'" in str(e.value)
    assert "(did you mean 'lepton_jax.config.schema'?)" in str(e.value)
    assert "pip install" not in str(e.value)


def test_a_number_that_came_later_is_off_by_default():
    """Otherwise checkpoints of earlier runs would lack it."""

    def gain(*, gain: Later[Hyper] = 0.5): ...

    def at_zero(*, gain: Annotated[Later[Hyper], NEVER_OFF] = 0.0): ...

    def off(*, gain: Later[Hyper] = 0.0, power: Later[float] = 0.5): ...

    for component in (gain, at_zero):
        with pytest.raises(UserError, match=r"gain: a Later\[Hyper\].*expected the default 0\.0"):
            signature_keys(component)
    assert set(signature_keys(off)) == {"gain", "power"}
