"""A mistake in a user's own part is one short error before the first step, with the user's line.

Each part of tests/user_project/wrong.py is tried as `train` and `train --dry_run` try it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax
from lepton_jax import errors
from lepton_jax.config.components import component_keys
from lepton_jax.config.user_code import blame
from lepton_jax.config.validation import parse_pipeline, validate_config
from lepton_jax.data.decoder import Decoder
from lepton_jax.errors import UserError, WorkError
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import build_run
from lepton_jax.training.runtime import runtime

WRONG = "tests.user_project.wrong"
PLACES = {
    "model": "model__name",
    "task": "task__name",
    "metric": "metrics__mine__name",
    "source": "data__source__name",
    "augment": "data__augment",
    "decode": "data__decode",
    "optimizer": "optimizer__name",
    "schedule": "schedule__name",
}


@pytest.fixture
def small(recipe) -> Any:
    """`small(model="Net")`: a small config with parts of wrong.py, and with other `changes`."""

    def config(changes: Any = None, **parts: str) -> dict[str, Any]:
        keys = {PLACES[k]: f"{WRONG}:{v}" for k, v in {"source": "tiny", **parts}.items()}
        return recipe(
            **{
                "model": {"name": f"{WRONG}:Net"},
                "task": {"name": "image_classification"},
                "data": {"prepare": "scale()"},
                "optimizer": {"name": "sgd", "learning_rate": 0.1},
                "schedule": {"name": "constant"},
                "batch_size": 8,
                "ema": 0.0,
                **keys,
                **(changes or {}),
            }
        )

    return config


@pytest.fixture
def tried(small) -> Any:
    """`tried(model="Net")`: builds the run of a small config, and returns what that says."""

    def build(workdir: str = "", **parts: Any) -> str:
        try:
            config = validate_config(small(**parts))
            with runtime("float32"):
                build_run(config, workdir)
        except UserError as e:
            said = str(e)
            assert said.count("\n") <= 2, said
            return said
        return ""

    return build


RIGHT = [
    ("metric", "Accuracy"),
    ("metric", "ResultsJax"),
    ("metric", "Ranks"),
    ("metric", "NeedsTwoClasses"),
    ("model", "Shares"),
    ("model", "HalfState"),
    ("task", "Steps"),
    ("source", "list_of_classes"),
    ("decode", "host_mutates"),
]


@pytest.mark.parametrize(("kind", "name"), RIGHT)
def test_a_part_without_a_mistake_is_taken(kind: str, name: str, tried):
    assert tried(**{kind: name}) == ""


MISTAKES = [
    ("model", "NoCall", "'NoCall' object is not callable\n.*a model has a method __call__.self, x"),
    ("model", "OneArgument", r"wrong.py:\d+: TypeError.*takes 2 .*\n.*__call__.self, x, noise="),
    ("model", "Raises", r"wrong.py:\d+ .raise RuntimeError.*: not written yet\nIt got image"),
    ("model", "ReturnsNone", r"ReturnsNone .*wrong.py:\d+. returned None;.*expects.* \[8, 3\]"),
    ("model", "ReturnsTuple", r"returned a tuple .float32 \[8, 3\], float32 \[8, 3\]."),
    ("model", "ReturnsDict", r"returned logits float32 \[8, 3\]; .* expects logits, floats"),
    ("model", "WrongRank", r"returned float32 \[8, 1, 3\]; .* floats \[8, 3\]"),
    ("model", "WrongWidth", r"returned float32 \[8, 2\]; .* floats \[8, 3\]"),
    ("model", "OneRow", r"returned float32 \[1, 3\]; .* floats \[8, 3\]"),
    ("model", "Integers", r"returned int32 \[8, 3\]; .* floats \[8, 3\]"),
    ("model", "Complex", r"returned complex64 \[8, 3\]; .* floats \[8, 3\]"),
    ("model", "PythonIf", r"wrong.py:\d+ .if x.max.*Tracer.*\n.*jnp.where or jax.lax.cond"),
    ("model", "PythonFloat", r"wrong.py:\d+ .*float.x.max.*\n.*use shapes and config keys"),
    ("model", "UsesNumpy", r"wrong.py:\d+ .*np.asarray.*\n.*use jax.numpy in place of NumPy"),
    ("model", "WrongShapes", r"wrong.py:\d+ .return self.head.x.*dot_general.*\nIt got image"),
    ("model", "Misspelt", r"wrong.py:\d+ .*has no attribute 'haed'"),
    ("model", "InitRaises", r"wrong.py:\d+ .*IndexError.*\nIt got a tuple .8, 8, 1., 3"),
    ("model", "ForgetsRngs", r"wrong.py:\d+: .*'rngs'\n.*expected __init__.self, input_shape"),
    ("model", "OnlyKeywords", r"wrong.py:\d+: TypeError.*\n.*expected __init__.self, input_shape"),
    ("model", "OtherStream", r"wrong.py:\d+ .*No RngStream named 'dropout'"),
    ("model", "ListOfModules", r"wrong.py:\d+ .self.layers.*\n.*nnx.List"),
    ("model", "Linen", "is a flax.linen module"),
    ("model", "linen_model", "is a flax.linen module .*; expected a flax.nnx.Module"),
    ("model", "no_model", "is a NoneType; expected a flax.nnx.Module"),
    ("model", "Grows", r"another state: learner.rest.seen was float32 \[1\] and is float32 \[2\]"),
    ("model", "NoGradient", r"wrong.py:\d+ .*while_loop.*Reverse-mode differentiation"),
    ("model", "FunctionKey", r"wrong.py:\d+.: the default of 'act' is .*; a config holds numbers"),
    ("model", "UnknownAnnotation", r"wrong.py:\d+.: an annotation .*name 'Wdith' is not defined"),
    ("model", "AN_INSTANCE", "is a dict; expected a class or a function"),
    ("model", "Nett", "no 'Nett' .did you mean 'Net'"),
    ("task", "NoLoss", "has no loss; expected input_shape, outputs"),
    ("task", "NoSpec", r"wrong.py:\d+: TypeError.*\nExpected __init__.self, spec"),
    ("task", "TaskInitRaises", r"wrong.py:\d+ .*'DataSpec' object has no attribute 'mean'"),
    ("task", "PerExample", r"wrong.py:\d+ .*'target_share'\n.*there is no 'target_share'"),
    ("task", "LossArray", r"LossArray.loss .*wrong.py:\d+. returned float32 \[\]; expected"),
    ("task", "LossOfFloats", r"'loss' is float32 \[\]; expected {'loss': .total, weight"),
    ("task", "NoLossKey", r"returned nll a tuple .*; expected {'loss': .total, weight"),
    ("task", "LossNone", "returned None; expected {'loss'"),
    ("task", "ComplexLoss", "'loss' is a tuple .complex64"),
    ("task", "WrongField", r"wrong.py:\d+ .*KeyError: 'labels'\n.*did you mean 'label'"),
    ("task", "LossArity", r"wrong.py:\d+: TypeError.*\n.*called as loss.self, model, batch, noise"),
    ("task", "Mean", "means.accuracy.0 of a whole batch is .* masked halves .*never means"),
    ("task", "ForgetsMask", "means.loss.0 of a whole batch is .* masked halves .*never means"),
    ("task", "Pairs", "means.loss.0 of a whole batch .* nothing that pairs the rows"),
    ("task", "PredictsTuple", r"predict .*wrong.py:\d+. returned a tuple .* arrays by name"),
    ("task", "PredictsMean", r"mean float32 \[3\]; expected arrays by name, a row for each"),
    ("task", "SurpriseScalar", r"surprise .*wrong.py:\d+. returned float32 \[\]; expected \[8\]"),
    ("task", "MetricsList", "metrics returned a list .*; expected metrics by name"),
    ("task", "LossesRow", r"example_loss .*wrong.py:\d+. returned float32 \[\]; expected \[8\]"),
    ("task", "LossesColumn", r"example_loss .* returned float32 \[8, 1\]; expected \[8\]"),
    ("metric", "NoClasses", r"wrong.py:\d+: TypeError.*\n.*write .def __init__.self, classes"),
    ("metric", "NoInit", r"NoInit.. takes no arg.*\n.*write .def __init__.self, classes"),
    ("metric", "SumsArity", r"mine.sums .*wrong.py:\d+: TypeError.*\n.*sums.self, outputs, batch"),
    ("metric", "UnknownOutput", r"^metrics.mine, UnknownOutput, at .*wrong.py:\d+ .*: outputs has "
     "no 'labels' .did you mean 'label'.*; predict of task .* gives 'probabilities', 'label'"),
    ("metric", "UnknownField", r"mine.sums .*wrong.py:\d+ .*'labels'\n.*did you mean 'label'"),
    ("metric", "ReturnsMean", "metrics.mine.* of a whole batch .* never means"),
    ("metric", "MeanOfAll", "metrics.mine.right of a whole batch is .* never means"),
    ("metric", "DividesByMask", "metrics.mine.right .* masked halves is nan"),
    ("metric", "SumsArray", "metrics.mine.right of a whole batch"),
    ("metric", "ResultsFloat", r"mine.results .*wrong.py:\d+: .*\n.*expected {'name': number"),
    ("metric", "ResultsRaises", r"mine.results .*wrong.py:\d+ .*'rights'\nIt got count float64"),
    ("metric", "ResultsSet", "set is not JSON serializable\n.*expected {'name': number"),
    ("metric", "ResultsLoss", "a value called 'loss', the name of the task's loss"),
    ("metric", "GatheredScalar", r"gathered .*wrong.py:\d+. returned p float32 \[\]; expected"),
    ("metric", "GatheredRaises", r"mine.results .*wrong.py:\d+ .*KeyError: 'q'\nIt got label"),
    ("augment", "halves", r"halves got image uint8 \[8, 8, 8, 1\].*returned image uint8 \[4,"),
    ("augment", "transform_none", "transform_none got .* and returned None; expected all fields"),
    ("augment", "transform_image", r"returned float32 \[8, 8, 8, 1\]; expected all fields"),
    ("augment", "drops_label", "KeyError: 'label'\nIt got image .*there is no 'label'"),
    ("augment", "transform_raises", r"wrong.py:\d+ .*cannot reshape.*\nIt got image uint8"),
    ("augment", "no_noise", r"wrong.py:\d+: TypeError.*\n.*expected NAME.batch, noise"),
    ("decode", "host_none", "example 0: host transform .*host_none returned None; expected a dict"),
    ("decode", "host_raises", r"example 2: .*wrong.py:\d+ .*: a bad example\nIt got image uint8"),
    ("decode", "host_dtype", "example 1: 'image' is uint8 .*, in the first example float32"),
    ("decode", "host_exits", r"wrong.py:\d+ .*: SystemExit: 3"),
    ("source", "longer_than_it_is", "'train', example 24 .*\nThe split's len.. is 30"),
    ("source", "other_keys", "example 24.* has fields .*'image'"),
    ("source", "label_beyond", "example 24: label 3; expected 0 to 2"),
    ("source", "tuples", "example 0.*: the split returned a tuple .uint8"),
    ("source", "no_length", "'train' is a Split without __len__; expected a list"),
    ("source", "generator", "'train' is a generator without __len__ and __getitem__"),
    ("source", "raises_inside", r"example 0 .photos/0.png. .*wrong.py:\d+ .*'img'"),
    ("source", "no_splits", "has no splits"),
    ("source", "splits_of_lists", "its splits are a list .*; expected {'train': split"),
    ("source", "source_raises", r"wrong.py:\d+ .*FileNotFoundError.*no/such/file.npy"),
    ("source", "empty_train", "split 'train' has no examples"),
    ("model", "Leaks", r"UnexpectedTracerError.*\n.*[Aa] traced array was kept after its step"),
    ("model", "KeepsInput", "UnexpectedTracerError.*\nA traced array was kept after its step"),
    ("model", "IntegerParameter", "keep integers in an nnx.Variable"),
    ("model", "NeedsNoise", r"wrong.py:\d+ .noise.*\n.*`noise` is None in an evaluation"),
    ("model", "NewVariable", r"learner.rest.cache was none and is float32 \[\]"),
    ("task", "OnlyPredicts", r"predict .*wrong.py:\d+. returned top int32 \[\]; .* by name"),
    ("task", "SameName", "metrics classification and mine both give a value called 'accuracy'"),
    ("task", "StepsNoSums", r"update .*wrong.py:\d+. returned 'rest'; expected {'loss'"),
    ("task", "StepsOfMeans", r"update .*wrong.py:\d+.: 'loss' is float32 \[\]; expected"),
    ("task", "StepsLosesState", "a step makes another state: it was .*'rest'"),
    ("task", "StepsWithoutVariables", "task .*StepsWithoutVariables failed: KeyError"),
    ("task", "StepsRaise", r"update failed at .*wrong.py:\d+ .*KeyError: 'generator'"),
    ("optimizer", "no_optimizer", "returned a function; expected an optax.GradientTransformation"),
    ("optimizer", "needs_value", "'value' and 'grad'\nA step hands over grads, state and params"),
    ("optimizer", "other_updates", "another structure than the gradients"),
    ("optimizer", "growing_state", "another state: learner.optimizer.0 was none and is 1"),
    ("optimizer", "optimizer_raises", r"wrong.py:\d+ .*unexpected keyword .* 'learning_rates'"),
    ("schedule", "schedule_number", "returned 0.5; expected a function from a step to a number"),
    ("schedule", "schedule_text", r"wrong.py:\d+: TypeError: .*'fast'.*\nIt got a step int32"),
    ("schedule", "schedule_array", r"gives float32 \[3\] at the first and the last step"),
    ("schedule", "schedule_nan", r"gives \[nan, nan\] at the first and the last step"),
    ("schedule", "schedule_if", r"wrong.py:\d+ .*Tracer.*\n.*jnp.where or jax.lax.cond"),
    ("schedule", "schedule_arity", r"wrong.py:\d+: TypeError.*\n.*expected NAME.total, steps"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "said"), MISTAKES, ids=[n for _, n, _ in MISTAKES])
def test_a_mistake_is_one_error_before_the_first_step(kind: str, name: str, said: str, tried):
    assert re.search(said, tried(**{kind: name}))


def test_an_optimizer_that_needs_a_second_pass_is_told_what_takes_one(tried):
    said = tried(changes={"optimizer__name": "optax:lbfgs"})
    assert said.startswith("optimizer optax:lbfgs.update failed: TypeError")
    assert "needs a task with a step of its own" in said


@pytest.mark.parametrize("name", ["my_pkg/nets.py:Net", "nets.py:Net", "my_pkg/nets:Net"])
def test_a_path_in_place_of_a_module_is_told_the_form(name: str, tried):
    assert "expected a module as Python imports it" in tried(changes={"model__name": name})


def test_a_dry_run_says_why_a_model_cannot_be_exported(small):
    from lepton_jax.cluster.environment import BY_ENVIRONMENT
    from lepton_jax.training.dry_run import describe_run

    config = small(model="CountsRows")
    facts, _ = describe_run(validate_config(config), BY_ENVIRONMENT)
    assert re.search(r"not possible at .*wrong.py:\d+ .*x.shape\[0\], never len", facts["export"])


def test_what_fails_while_a_run_trains_is_one_error_too(small, tmp_path: Path):
    config = small({"train_for": "1 steps", "evaluate_every": "1 steps"}, metric="FailsLate")
    with pytest.raises(UserError, match=r"mine.results failed at .*wrong.py:\d+ .*: too many\n"):
        lepton_jax.train(config, str(tmp_path))
    assert "ValueError: too many" in (tmp_path / "traceback.txt").read_text()


@pytest.mark.parametrize("model", [f"{WRONG}:Convolution", "cnn"])
def test_bytes_that_reach_a_convolution_are_told_the_cure(model: str, tried):
    changes = {"model__name": model, "data__prepare": ""}
    said = tried(changes=changes)
    assert f"model {model} failed" in said
    assert "got image uint8 [8, 8, 8, 1]" in said
    assert 'data.prepare = "scale()"' in said


def test_the_traceback_is_kept_in_the_workdir_or_in_the_cache(tried, tmp_path: Path, monkeypatch):
    workdir = tmp_path / "run"
    assert tried(str(workdir), model="Raises").endswith(f"Traceback: {workdir}/traceback.txt")
    text = (workdir / "traceback.txt").read_text()
    assert text.startswith("Traceback")
    assert "RuntimeError: not written yet\n" in text
    assert sorted(p.name for p in workdir.iterdir()) == ["traceback.txt"]
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    tried(model="Raises")
    assert (tmp_path / "cache" / "traceback.txt").read_text() == text


def test_a_run_that_begins_leaves_no_traceback_of_a_start_that_failed(tried, tmp_path: Path):
    tried(str(tmp_path), model="Raises")
    Record.create(tmp_path, "{}\n", {})
    assert not (tmp_path / "traceback.txt").exists()


def test_a_mistake_that_needs_no_traceback_leaves_none(tried, tmp_path: Path):
    tried(str(tmp_path), model="ReturnsNone")
    assert not list(tmp_path.iterdir())


def test_a_workdir_that_cannot_be_written_takes_nothing_from_the_message(tried):
    assert tried("/proc/nothing", model="Raises").endswith("It got image float32 [8, 8, 8, 1]")


MODULES = {
    "syntax error": (
        "def model(a, b, *, rngs)\n    pass\n",
        r"syntax error at .*mine.py:1: ",
    ),
    "exits": ("import sys\nprint('usage')\nsys.exit(2)\n", r"mine.py:3 .sys.exit.2.*SystemExit: 2"),
    "raises": ("x = 1 / 0\n", r"mine.py:1 .x = 1 / 0.: ZeroDivisionError"),
    "needs a package": ("import no_such_package_\n", "needs the package 'no_such_package_'"),
    "lacks the name": ("def mode(): pass\n", "no 'model' .did you mean 'mode'"),
    "renamed import": ("from lepton_jax.nn.layers import Dropoutt\n", r"mine.py:1 .*'Dropoutt'"),
    "a number": ("model = 3\n", "is a int; expected a class or a function"),
}


@pytest.mark.parametrize(("text", "said"), MODULES.values(), ids=MODULES)
def test_a_module_that_does_not_import(text: str, said: str, tmp_path: Path, monkeypatch, capsys):
    package = f"wrong_{abs(hash(text))}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=said):
        component_keys("model", f"{package}.mine:model")
    assert capsys.readouterr().out == ""  # what a module prints is no result of a command


def test_a_transform_that_writes_into_an_example_leaves_the_source_alone():
    image = np.full((4, 4, 1), 8, np.uint8)
    decode = parse_pipeline("host transform", f"{WRONG}:host_mutates")
    decoder = Decoder([{"image": image, "label": 0}], "train", decode)
    assert [int(decoder(0)["image"][0, 0, 0]) for _ in range(2)] == [4, 4]
    assert (image == 8).all()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FileNotFoundError(2, "No such file", "data.npy"), UserError),
        (PermissionError(13, "denied"), UserError),
        (ConnectionError("the server is down"), WorkError),
        (TimeoutError("too slow"), WorkError),
        (OSError(5, "Input/output error"), WorkError),
        (KeyError("label"), UserError),
        (SystemExit(3), UserError),
        (MemoryError(), MemoryError),
    ],
)
def test_a_mistake_is_the_users_and_a_failure_of_the_machine_is_not(error, kind: type):
    with pytest.raises(kind) as caught:
        blame("source mine", error)
    assert type(error).__name__ in f"{caught.value!r}"


def test_long_messages_of_libraries_are_cut():
    with pytest.raises(UserError) as caught:
        blame("model mine", ValueError("x" * 1000 + "\nmore"), got="y")
    assert len(str(caught.value)) < 400
    assert str(caught.value).count("\n") == 1


def test_values_are_described_by_shape_and_dtype():
    image = np.zeros((2, 3), np.uint8)
    described = {
        "image uint8 [2, 3], n 3": {"image": image, "n": 3},
        "a tuple (uint8 [2, 3], None)": (image, None),
        "an empty mapping": {},
        "'cat'": "cat",
        "a set": {1},
    }
    assert [errors.describe_value(v) for v in described.values()] == list(described)
