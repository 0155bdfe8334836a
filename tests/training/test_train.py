"""A config becomes a record: what a run leaves, and what must not change its numbers."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import lepton_jax
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError, WorkError
from lepton_jax.training import saved
from lepton_jax.training.checkpoints import Checkpoints
from tests.laws import assert_same_leaves, read_leaves, read_rows


def train(config: dict[str, Any], workdir: Path, **flags: Any) -> Any:
    return lepton_jax.train(config, str(workdir), **flags)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run of the recipe."""
    from tests.training.conftest import RECIPE

    workdir = tmp_path_factory.mktemp("runs") / "whole"
    train(RECIPE, workdir)
    return workdir


def test_a_run_learns_and_leaves_its_record(finished: Path):
    results = json.loads((finished / "results.json").read_text())
    assert results["test"]["accuracy"] > 0.8
    assert np.sum(results["test"]["confusion"]) == 37  # every test example once
    found = read_rows(finished)
    assert [r["step"] for r in found if "train/loss" in r] == [7, 14, 21, 28, 35, 42, 49, 56, 60]
    assert [r["step"] for r in found if "valid/loss" in r] == [10, 20, 30, 40, 50, 60]
    assert {"train/accuracy", "train/grad_norm", "train/learning_rate"} < found[0].keys()
    for name in ("config.json", "provenance.json", "timings.jsonl", "curves.png", "confusion.png"):
        assert (finished / name).stat().st_size > 0
    assert json.loads((finished / "status.json").read_text())["state"] == "finished"


def test_the_same_config_twice_gives_the_same_bytes(finished: Path, recipe, tmp_path: Path):
    train(recipe(), tmp_path / "again")
    assert (tmp_path / "again/metrics.jsonl").read_bytes() == (
        finished / "metrics.jsonl"
    ).read_bytes()
    assert_same_leaves(read_leaves(tmp_path / "again", 60), read_leaves(finished, 60))


def test_streamed_from_the_host_is_the_same_to_the_byte(finished: Path, recipe, tmp_path: Path):
    train(recipe(data__placement="stream", data__workers=0), tmp_path / "stream")
    assert_same_leaves(read_leaves(tmp_path / "stream", 60), read_leaves(finished, 60))
    assert read_rows(tmp_path / "stream") == read_rows(finished)


def test_a_finished_run_does_nothing_when_started_again(finished: Path, recipe):
    before = (finished / "metrics.jsonl").read_bytes()
    assert train(recipe(), finished).step == 60
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_a_workdir_of_another_config_is_refused_by_key(finished: Path, recipe):
    with pytest.raises(UserError, match=r"holds a run of another config") as e:
        train(recipe(seed=1, batch_size=8), finished)
    assert "seed: 0 -> 1" in str(e.value)
    assert "batch_size: 16 -> 8" in str(e.value)


def test_a_metric_that_the_run_does_not_measure_is_told_before_the_workdir(finished: Path, recipe):
    with pytest.raises(UserError, match=r"'valid/acc' is not measured .*'valid/accuracy'"):
        train(recipe(best={"metric": "valid/acc"}), finished)


def test_training_longer_is_a_flag(recipe, tmp_path: Path):
    train(recipe(train_for="12 steps"), tmp_path)
    with pytest.raises(UserError, match="add --longer"):
        train(recipe(train_for="20 steps"), tmp_path)
    with pytest.raises(UserError, match=r"(?s)--longer: the learning rate would go .*--stretch"):
        train(recipe(train_for="20 steps"), tmp_path, longer=True)
    with pytest.raises(UserError, match=r"is 4 steps, but the run in .* has taken 12"):
        train(recipe(train_for="4 steps"), tmp_path, longer=True)
    assert json.loads((tmp_path / "config.json").read_text())["train_for"] == "12 steps"
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "finished"
    assert train(recipe(train_for="20 steps"), tmp_path, stretch=True).step == 20
    assert json.loads((tmp_path / "config.json").read_text())["train_for"] == "20 steps"


def test_the_step_compiles_once_and_a_restart_compiles_no_other(recipe, tmp_path: Path):
    compiled: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("Finished XLA compilation"):
                compiled.append(record.getMessage().split("of ")[1].split(" in ")[0])

    logger, handler = logging.getLogger("jax._src.dispatch"), Handler()
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            train(recipe(), tmp_path)
    finally:
        logger.removeHandler(handler)
    assert compiled.count("jit(step)") == 1, compiled
    assert compiled.count("jit(evaluate)") == 1, compiled


def test_numbers_that_are_not_finite_stop_the_run_and_spare_the_checkpoints(recipe, tmp_path):
    config = recipe(
        optimizer__name="sgd", optimizer__learning_rate=1e18, checkpoint_every="1 steps",
        log_every="1 steps",
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"step \d+ .* not finite") as e:
        train(config, tmp_path)
    assert "; curves.png there shows the steps before" in str(e.value)
    assert (tmp_path / "curves.png").exists()
    assert "learning rate" in str(e.value)
    assert "arrays break, by name " in str(e.value)
    assert "times that at the start: the steps were too long; try a lower optimizer" in str(e.value)
    for step in Checkpoints(str(tmp_path)).steps():
        assert all(np.isfinite(v).all() for v in read_leaves(tmp_path, step).values())
    assert json.loads((tmp_path / "status.json").read_text())["state"] == "failed"


def test_no_row_is_written_behind_numbers_that_are_not_finite(recipe, tmp_path: Path):
    """The evaluation comes before the first row of the training loss."""
    config = recipe(
        data__prepare="scale(mean=0.0, std=1e-37)", evaluate_every="3 steps",
        log_every="10 steps", train_for="20 steps",
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"the numbers of step 0 are not finite .*: loss nan") as e:
        train(config, tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()
    assert "curves.png" not in str(e.value)
    assert "learning_rate" not in str(e.value)  # it has no part in this
    assert "The initial weights gave this, so no learning rate helps" in str(e.value)
    wanted = r"init_from = .*: that run failed at step 0 and saved no checkpoint"
    with pytest.raises(UserError, match=wanted):
        train(recipe(init_from=str(tmp_path)), tmp_path / "next")


def test_an_update_that_is_not_finite_reaches_no_checkpoint(recipe, tmp_path: Path):
    """The loss and the gradient are finite; the step that they make is not."""
    config = recipe(
        optimizer__name="sgd", optimizer__learning_rate=3e38, data__prepare="scale(std=0.1)",
        checkpoint_every="1 steps",
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"step 0 left a state that is not finite") as e:
        train(config, tmp_path)
    assert Checkpoints(str(tmp_path)).steps() == []
    assert re.search(r"\d arrays, .*; loss \d\S+, gradient norm \d\S+, both finite;", str(e.value))
    assert "the gradient are finite, and the update is not: try a lower optimizer" in str(e.value)


def test_no_lower_rate_is_advised_where_the_weights_have_hardly_grown(recipe, tmp_path: Path):
    image = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype(np.float32)
    image[5] = np.inf
    label = np.arange(64, dtype=np.int32) % 4
    arrays = {"train_image": image, "train_label": label}
    np.savez(tmp_path / "d.npz", **arrays, valid_image=image[8:20], valid_label=label[8:20])
    source = {"name": "npz", "path": str(tmp_path / "d.npz")}
    with pytest.raises(WorkError, match=r"the numbers of step [123] are not finite") as e:
        train(recipe(data__source=source, data__prepare="", batch_size=16), tmp_path / "run")
    assert "at the start: the learning rate is hardly the cause" in str(e.value)
    assert "optimizer.learning_rate" not in str(e.value)


def test_accumulation_computes_the_same_gradients(recipe, tmp_path: Path):
    base = {"model__dropout": 0.2, "precision": "float64", "train_for": "12 steps"}
    train(recipe(**base), tmp_path / "whole")
    train(recipe(**base, accumulate=4), tmp_path / "parts")
    for a, b in zip(read_rows(tmp_path / "whole"), read_rows(tmp_path / "parts"), strict=True):
        for name in a:
            assert a[name] == pytest.approx(b[name], rel=1e-10), name


def test_bfloat16_computes_near_float32_and_keeps_float32_parameters(recipe, tmp_path: Path):
    train(recipe(precision="bfloat16", train_for="20 steps"), tmp_path / "half")
    train(recipe(train_for="20 steps"), tmp_path / "full")
    half, full = read_rows(tmp_path / "half")[-1], read_rows(tmp_path / "full")[-1]
    assert half["valid/loss"] != full["valid/loss"]
    assert half["valid/loss"] == pytest.approx(full["valid/loss"], rel=0.05)
    params = read_leaves(tmp_path / "half", 20)
    assert all(v.dtype == np.float32 for k, v in params.items() if ".params." in k)


@pytest.mark.slow
def test_everything_runs_without_jit(recipe, tmp_path: Path):
    config = recipe(train_for="2 steps", evaluate_every="2 steps", batch_size=4)
    config["data"]["source"]["examples"] = 20
    train(config, tmp_path / "jit")
    with jax.disable_jit():
        train(config, tmp_path / "eager")
    for a, b in zip(read_rows(tmp_path / "jit"), read_rows(tmp_path / "eager"), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_start_up_prefers_the_own_checkpoint_then_init_from(
    finished: Path, recipe, tmp_path, capfd
):
    config = recipe(init_from=str(finished), train_for="10 steps", seed=5, model__dropout=0.3)
    train(config, tmp_path / "tuned")
    said = capfd.readouterr().err
    assert "arrays taken over" in said
    lines = [
        line for line in said.splitlines() if re.match("(record|data|model|steps|compiled)  ", line)
    ]
    assert [line.split()[0] for line in lines] == ["data", "model", "steps", "record", "compiled"]
    assert lines[3] == f"record    {tmp_path}/tuned"
    assert re.search(r"mlp, [\d,]+ parameters \([\d.]+ KiB\), for image_classification", lines[1])
    assert lines[2].startswith("steps     10 (")
    assert "evaluating test at step 10" in said
    assert (
        read_rows(tmp_path / "tuned")[0]["train/loss"] < read_rows(finished)[0]["train/loss"] - 0.2
    )
    assert read_leaves(tmp_path / "tuned", 10)["state.learner.rest.dropout.rate"] == np.float32(0.3)
    longer = config | {"train_for": "15 steps"}
    train(longer, tmp_path / "tuned", stretch=True)
    said = capfd.readouterr().err
    assert "going on from step 10" in said
    assert "taken over" not in said


def test_init_from_reports_what_did_not_fit(finished: Path, recipe, tmp_path: Path, capfd):
    config = recipe(init_from=str(finished), train_for="1 steps", model__features=(32, 24))
    train(config, tmp_path)
    said = capfd.readouterr().err
    assert "has shape (32, 4) there" in said
    with pytest.raises(UserError, match="there is no such file or folder"):
        train(recipe(init_from=str(tmp_path / "nowhere")), tmp_path / "b")


def test_best_is_by_the_named_metric_and_is_what_test_reads(recipe, tmp_path: Path):
    train(recipe(best={"metric": "valid/accuracy", "mode": "max"}), tmp_path)
    best = max(
        (r for r in read_rows(tmp_path) if "valid/accuracy" in r),
        key=lambda r: (r["valid/accuracy"], -r["step"]),
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["checkpoint"]["step"] == best["step"]
    assert best["step"] in Checkpoints(str(tmp_path)).steps()
    trained = saved.load_run(str(tmp_path), "best")
    assert trained.step == best["step"]


def test_a_best_metric_that_is_not_measured_is_refused_before_training(recipe, tmp_path: Path):
    with pytest.raises(UserError, match=r"not measured .*did you mean 'valid/accuracy'"):
        train(recipe(best={"metric": "valid/acuracy", "mode": "max"}), tmp_path)
    with pytest.raises(UserError, match="test/accuracy"):
        train(recipe(best={"metric": "test/accuracy", "mode": "max"}), tmp_path)


def test_data_without_a_training_split_is_refused_and_without_valid_the_last_is_best(
    recipe, tmp_path: Path
):
    image, label = np.zeros((20, 8, 8, 1), np.uint8), np.arange(20, dtype=np.int32) % 2
    np.savez(tmp_path / "test.npz", test_image=image, test_label=label)
    source = {"name": "npz", "path": str(tmp_path / "test.npz")}
    with pytest.raises(UserError, match="has no split 'train', only test"):
        train(recipe(data__source=source), tmp_path / "a")
    train(recipe(data__valid_fraction=0.0, train_for="12 steps"), tmp_path / "b")
    assert [r["step"] for r in read_rows(tmp_path / "b")] == [7, 12]
    results = json.loads((tmp_path / "b/results.json").read_text())
    assert results["test"]["step"] == 12


def test_a_run_without_test_data_says_so(recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    image, label = np.zeros((20, 8, 8, 1), np.uint8), np.arange(20, dtype=np.int32) % 2
    np.savez(tmp_path / "arrays.npz", train_image=image, train_label=label)
    source = {"name": "npz", "path": str(tmp_path / "arrays.npz")}
    train(recipe(data__source=source, train_for="1 steps"), tmp_path / "w")
    assert "the data have no split 'test'" in capfd.readouterr().err
    assert "test" not in json.loads((tmp_path / "w/results.json").read_text())


def test_further_evaluations_and_metrics_are_recorded(recipe, tmp_path: Path):
    config = recipe(
        train_for="10 steps",
        evals={
            "other": {
                "source": {"name": "generated_images", "classes": 4, "examples": 80},
                "split": "test",
            },
            "again": {"split": "valid", "metrics": {"top_k": {"k": 2}}},
        },
    )
    train(config, tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert np.sum(results["other"]["confusion"]) == 20
    assert any(k.startswith("again/top") for k in read_rows(tmp_path)[-1])


def test_an_exported_forward_pass_is_the_evaluated_one(finished: Path):
    trained = saved.load_run(str(finished), "best")
    test = trained.data.splits["test"]
    images = np.asarray(test.columns["image"])
    out = jax.jit(trained.forward)(trained.weights, {"image": images})
    accuracy = float(np.mean(np.asarray(out["label"]) == test.columns["label"]))
    assert accuracy == pytest.approx(trained.record.results()["test"]["accuracy"])
    assert validate_config(json.loads(trained.config.to_json())) == trained.config
