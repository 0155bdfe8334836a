"""Arguments of commands: ranges, paths and lists, on a command line and from Python alike."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.ablation.question.experiment import (
    Experiment,
    Search,
    Variant,
    grid,
    named_variants,
    uniform,
)
from lepton_jax.ablation.question.experiment_file import (
    change_experiment,
    check_experiment,
    experiment_from_flags,
    resolve_experiment,
)
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.cli.arguments import command
from lepton_jax.cli.parse import parse_line
from lepton_jax.cli.table import Commands
from lepton_jax.commands import COMMANDS, find_command
from lepton_jax.config.plain import list_items
from lepton_jax.config.schema import PATH, RANGES, PathText, PositiveInt, Seed, split_annotation
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from tests.config.test_config import GOOD


def refused(call: Callable[[], Any]) -> str:
    """What the call is refused with: three lines at most."""
    with pytest.raises(UserError) as e:
        call()
    assert str(e.value).count("\n") < 3
    return str(e.value)


@command
def do(
    inputs: Sequence[Any] = (),
    *,
    out: PathText = "",
    folder: PathText = "here",
    count: PositiveInt = 1,
    rate: Annotated[float | None, ">= 0"] = None,
    seed: Seed = 0,
    checkpoint: str = "best",
    dry: bool = False,
    names: tuple[str, ...] = (),
    vary: Sequence[str] = (),
) -> dict[str, Any]:
    return {k: v for k, v in locals().items() if v is not None}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 0}, "do: --count: expected int > 0, got 0"),
        ({"count": -3}, "expected int > 0"),
        ({"count": 1.5}, "expected int, got 1.5"),
        ({"count": "3"}, "expected int, got '3'"),
        ({"count": True}, "expected int"),
        ({"count": None}, "expected int"),
        ({"rate": -1}, "got -1"),
        ({"rate": float("nan")}, "nan"),
        ({"rate": float("inf")}, "inf"),
        ({"seed": -1}, "in [0, 2^32)"),
        ({"seed": 2**32}, "in [0, 2^32)"),
        ({"dry": "false"}, "expected bool, got 'false'"),
        ({"folder": ""}, "do: --folder: expected a path, got '' (is a variable unset?)"),
        ({"folder": 3.5}, "expected str"),
        ({"folder": None}, "expected str"),
        ({"checkpoint": ["last"]}, "expected str"),
    ],
    ids=str,
)
def test_python_is_told_what_an_argument_may_be(given: dict[str, Any], said: str):
    assert said in refused(lambda: do(**given))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"folder": Path("a") / "b"}, {"folder": "a/b"}),
        ({"folder": "~/a"}, {"folder": "/home/me/a"}),
        ({"folder": Path("~/a")}, {"folder": "/home/me/a"}),
        ({"folder": "gs://b/~"}, {"folder": "gs://b/~"}),
        ({"out": ""}, {"out": ""}),
        ({"count": np.int32(3)}, {"count": 3}),
        ({"rate": np.float32(0.5)}, {"rate": 0.5}),
        ({"rate": 2}, {"rate": 2.0}),
        ({"seed": 2**32 - 1}, {"seed": 2**32 - 1}),
        ({"checkpoint": 100}, {"checkpoint": "100"}),
        ({"dry": np.bool_(True)}, {"dry": True}),
        ({"names": "a,b"}, {"names": ("a", "b")}),
        ({"names": ["a", "b"]}, {"names": ("a", "b")}),
        ({"vary": "a=1,2"}, {"vary": ["a=1,2"]}),
        ({"inputs": "good movie"}, {"inputs": ["good movie"]}),
        ({"inputs": b"bytes"}, {"inputs": [b"bytes"]}),
        ({"inputs": Path("a.png")}, {"inputs": [Path("a.png")]}),
        ({"inputs": (f"{i}.png" for i in range(2))}, {"inputs": ["0.png", "1.png"]}),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],
)
def test_python_may_give_what_means_the_same(
    given: dict[str, Any], taken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", "/home/me")
    found = do(**given)
    for name, value in taken.items():
        assert found[name] == value
        assert type(found[name]) is type(value)


def test_one_array_and_one_image_are_one_input():
    array = np.zeros((8, 8, 1), np.uint8)
    assert list_items(array)[0] is array
    assert list_items([array, array])[1] is array
    image = pytest.importorskip("PIL.Image").fromarray(array[..., 0])
    assert list_items(image) == [image]


def parse(*words: str) -> dict[str, Any]:
    return parse_line(Commands({"": {"do": ""}}, lambda name: do), ["do", *words])[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out="], "do: --out: expected a path, got '' (is a variable unset?)"),
        (["--folder="], "do: --folder: expected a path"),
        (["--count=1", "--count=2"], "do: --count is given twice"),
        (["--folder=a", "--folder=a"], "do: --folder is given twice"),
    ],
    ids=str,
)
def test_a_command_line_is_told_as_well(words: list[str], said: str):
    assert refused(lambda: parse(*words)).startswith(said)


def test_a_list_flag_may_be_given_twice():
    assert parse("--vary", "a=1", "--vary", "b=2")["vary"] == ["a=1", "b=2"]


TRAIN = ("train", "--config=configs/digits_cnn.py", "--workdir=w")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*TRAIN, "--config.model.normalize"], "--config.model.normalize has no value; expected"),
        ([*TRAIN, "--config.model.normalize", "--dry_run"], "such as --config.model.normalize=tru"),
        ([*TRAIN, "--config.seed=1", "--config.seed=2"], "--config.seed is given twice: '1' and"),
        ([*TRAIN, "--config.seed=1", "--config.seed", "1"], "--config.seed is given twice"),
        (
            [*TRAIN, "--optimizer.learning_rate=1"],
            "did you mean --config.optimizer.learning_rate=1?",
        ),
        ([*TRAIN, "--seed=1"], "no flag --seed (did you mean --config.seed=1?)"),
        ([*TRAIN, "--batch_size", "3"], "(did you mean --config.batch_size=3?)"),
        (
            ["train", "configs/digits_cnn.py", "--workdir=w"],
            "(did you mean --config=configs/digits_cnn.py?)",
        ),
        (["train", "--config=configs/digits_cnn.py", "--workdir="], "train: --workdir: expected a"),
        (["verify", "--bundle=b", "--workdir="], "verify: --workdir: expected a path, got ''"),
        (["reproduce", "--experiment=e.py", "--workdir="], "reproduce: --workdir: expected a pat"),
        (["export", "--workdir=w", "--out="], "export: --out: expected a path, got ''"),
        (["trian"], "there is no command 'trian' (did you mean 'train'?)"),
        (["zebra"], "there is no command 'zebra'"),
    ],
    ids=str,
)
def test_a_mistake_on_a_command_line_has_one_sentence(words: list[str], said: str):
    assert said in refused(lambda: parse_line(COMMANDS, words))


def test_a_file_of_flags_may_hold_overrides(tmp_path: Path):
    (tmp_path / "flags").write_text("--config.seed=7\n--dry_run\n")
    arguments = parse_line(COMMANDS, [*TRAIN, f"--flagfile={tmp_path}/flags"])[0]
    assert (arguments["overrides"], arguments["dry_run"]) == ({"seed": "7"}, True)
    assert "nowhere" in refused(lambda: parse_line(COMMANDS, [*TRAIN, "--flagfile=nowhere"]))


def test_a_command_is_judged_before_it_is_submitted():
    words = ["generate", "--workdir=w", "--tokens=-5"]
    assert "generate: --tokens: expected int > 0" in refused(
        lambda: api.submit(words, executor="slurm")
    )


def test_a_command_to_submit_may_be_one_text():
    said = refused(lambda: api.submit("trian --workdir=w", executor="gke"))
    assert "there is no command 'trian' (did you mean 'train'?)" in said


def test_a_value_may_be_the_next_word_and_negative():
    words = [*TRAIN, "--config.seed", "3", "--config.schedule.end", "-1"]
    assert parse_line(COMMANDS, words)[0]["overrides"] == {"seed": "3", "schedule.end": "-1"}


def test_of_every_number_and_path_of_a_command_it_is_known_what_it_may_be():
    free = {("train", "process_id")}  # -1: none
    paths = {"workdir", "out", "bundle", "folder", "logs"}
    for name in COMMANDS.summaries:
        for p in inspect.signature(find_command(name)).parameters.values():
            key = split_annotation(p.annotation)
            if key.annotation in (int, float, float | None) and (name, p.name) not in free:
                assert set(key.marks) & set(RANGES), (name, p.name)
            if p.name in paths and key.annotation != Sequence[str]:  # of serve: NAME=DIR, as given
                assert PATH in key.marks, (name, p.name)


NUMBERS = {
    "ablate": ("seeds", "workers", "cpus_per_task", "gpus_per_node", "time"),
    "augment": ("examples",),
    "debug": ("step",),
    "generate": ("tokens", "temperature", "top_k", "top_p", "seed"),
    "plan": ("price",),
    "predict": ("examples",),
    "replay": ("spans", "seed"),
    "reproduce": ("workers",),
    "submit": ("nodes", "tasks_per_node", "cpus_per_task", "slices", "time"),
    "train": ("processes", "num_processes"),
}
NEEDED = {
    "ablate": {"workdir": "w"}, "augment": {"config": GOOD}, "debug": {"workdir": "w"},
    "plan": {"config": GOOD}, "replay": {"workdir": "w"}, "reproduce": {"experiment": "e.py"},
    "submit": {"command": ["train"], "executor": "gke"},
    "train": {"config": GOOD, "workdir": "w"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "flag"), [(name, flag) for name, flags in NUMBERS.items() for flag in flags]
)
@pytest.mark.parametrize("wrong", [-1, float("nan"), "many"], ids=str)
def test_a_number_of_a_command_is_judged_before_anything_is_made(
    name: str, flag: str, wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    said = refused(lambda: getattr(api, name)(**NEEDED.get(name, {}), **{flag: wrong}))
    assert f"{name}: --{flag}: " in said
    assert not list(tmp_path.iterdir())


def experiment(**keys: Any) -> Experiment:
    given = {"question": "?", "config": GOOD, "variants": [Variant("a")], **keys}
    return Experiment(**given)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"seeds": (-1,)}, "e: seeds: expected a tuple of int in [0, 2^32)"),
        ({"seeds": (2**32,)}, "in [0, 2^32)"),
        ({"seeds": (1.5,)}, "in [0, 2^32)"),
        ({"seeds": ("1",)}, "in [0, 2^32)"),
        ({"seeds": 3}, "e: seeds:"),
        ({"seeds": ()}, "no seeds"),
        ({"seeds": np.array([1, 1])}, "named twice"),
        (
            {"searches": [Search(name="s", space={"ema": uniform(0, 1)}, trials=2, seed=-1)]},
            "e: search 's': seed",
        ),
    ],
    ids=str,
)
def test_an_experiment_s_seeds_have_the_range_of_seeds(keys: dict[str, Any], said: str):
    assert said in refused(lambda: check_experiment(experiment(**keys), "e"))


@pytest.mark.parametrize("seeds", [range(2), [0, 1], np.arange(2), (np.int64(0), 1)], ids=repr)
def test_seeds_may_be_any_whole_numbers(seeds: Any):
    found = experiment(seeds=seeds)
    check_experiment(found, "e")
    assert [t.config.seed for t in expand_trials(found)] == [0, 1]


@pytest.mark.parametrize("form", [GOOD, validate_config(GOOD)], ids=["dict", "Config"])
def test_an_experiment_s_config_has_any_form(form: Any):
    found = experiment(config=form, variants=grid({"ema": (0.5, np.float32(0.25))}), seeds=(0,))
    assert resolve_experiment(found) is found
    assert [t.config.ema for t in expand_trials(found)] == [0.5, 0.25]


@pytest.mark.parametrize("change", [{"ema": 1.0}, {"optimizer.b1": -1}, {"data.split_seed": -1}])
def test_what_variants_change_obeys_the_ranges(change: dict[str, Any]):
    (key,) = change
    found = experiment(variants=[Variant("a", change)])
    assert key in refused(lambda: expand_trials(found))
    assert key in refused(lambda: expand_trials(experiment(changes=change)))


@pytest.mark.parametrize("name", ["evaluate", "export", "debug"])
def test_a_workdir_that_is_not_there_is_told_at_once_with_the_nearest(name: str, tmp_path: Path):
    for folder in ("digits", "digis"):
        (tmp_path / folder).mkdir()
    (tmp_path / "digits/config.json").write_text("{}")  # the other one holds no run
    flags = {"evaluate": {}, "export": {"out": tmp_path / "b"}, "debug": {"step": 1}}[name]
    said = refused(lambda: getattr(api, name)(workdir=tmp_path / "digit", **flags))
    assert "digit holds no record of a run" in said
    assert "(did you mean 'digits'?)" in said


@pytest.mark.parametrize(
    ("out", "said"), [("x.jpg", "ends in .png"), ("no/x.png", "there is no folder no")]
)
def test_a_picture_that_cannot_be_written_is_told_first(
    out: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert said in refused(lambda: api.augment(GOOD, out=out))


def test_a_folder_of_runs_that_is_not_there_is_told_with_the_nearest(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    assert "(did you mean 'runs'?)" in refused(lambda: api.runs(tmp_path / "rusn"))
    assert "expected a path, got ''" in refused(lambda: api.runs(""))


def test_a_price_is_that_of_a_topology():
    assert "add --topology=CHIP:SHAPE" in refused(lambda: api.plan(GOOD, price=2.5))


def test_a_recipe_is_named_by_its_file():
    assert "(did you mean 'digits_cnn'?)" in refused(lambda: api.plan("digit_cnn"))
    assert "got ''" in refused(lambda: api.plan(""))


def test_what_is_no_experiment_is_refused():
    assert "expected an experiment file or an Experiment" in refused(lambda: resolve_experiment(3))
    assert "ablate takes one of" in refused(lambda: api.ablate("w"))
    assert "ablate takes one of" in refused(lambda: api.ablate("w", config=GOOD, experiment="e"))


@pytest.mark.parametrize(
    ("vary", "overrides", "said"),
    [
        (["ema=0.1,0.2", "ema=0.3"], {}, "ema: it is in another --vary too; give it once"),
        (["ema=0.1,0.2"], {"ema": 0.3}, "ema: it is in another --config.ema too; give it once"),
        (["ema"], {}, "expected KEY=VALUE,VALUE"),
        (["ema=0.1,0.1"], {}, "two variants are called"),
        (["=0.1"], {}, "expected KEY=VALUE,VALUE"),
        ([{"ema": 0.1}], {}, "expected KEY=VALUE,VALUE"),
        ([{"ema": ()}], {}, "expected KEY=VALUE,VALUE"),
        ([3], {}, "expected KEY=VALUE,VALUE"),
        (["ema=0.1,1.5"], {}, "expected float in [0, 1), got 1.5"),
        (["seed=1,2"], {}, "changes the seed; use Experiment.seeds"),
    ],
)
def test_a_key_varies_in_one_place(vary: list[str], overrides: dict[str, Any], said: str):
    def trials() -> Any:
        return expand_trials(experiment_from_flags(GOOD, overrides, vary, 1, "", ""))

    assert said in refused(trials)


def test_what_is_tuned_is_chosen_on_valid_for_each_variant():
    def ask(vary: list[str], tune: list[str]) -> Any:
        return experiment_from_flags(GOOD, {}, vary, 1, "accuracy", "", tune=tune)

    alone = ask([], ["optimizer.learning_rate=1e-3,1e-2"])
    assert alone.question == (
        "What is the test accuracy at the optimizer.learning_rate that is best on valid?"
    )
    assert [(v.name, v.changes, v.tuning) for v in alone.variants] == [
        ("tuned", {}, {"optimizer.learning_rate": rate}) for rate in (1e-3, 1e-2)
    ]
    both = ask(["ema=0.0,0.9"], ["optimizer.learning_rate=1e-3,1e-2"])
    assert [v.name for v in both.variants] == ["ema=0"] * 2 + ["ema=0.9"] * 2
    twice = lambda: ask(["ema=0.0,0.9"], ["ema=0.1,0.2"])  # noqa: E731
    assert "--tune ema: it is in --vary too; give it once" in refused(twice)


def test_keys_of_the_command_line_stay_where_another_component_is_varied():
    given = {"optimizer.learning_rate": "0.01", "ema": "0.5"}
    question = experiment_from_flags(GOOD, given, ["optimizer.name=adam,sgd"], 1, "accuracy", "")
    rates = {t.variant: t.config.optimizer.learning_rate for t in expand_trials(question)}
    assert rates == {"name=adam": 0.01, "name=sgd": 0.01}


def test_keys_of_the_command_line_change_every_variant_of_an_experiment():
    asked = Experiment(
        question="?",
        config=GOOD,
        changes={"train_for": "5 steps"},
        variants=named_variants({"a": {}, "b": {"ema": 0.9}}),
    )
    changed = change_experiment(asked, {"train_for": "2 epochs", "batch_size": "16"})
    for trial in expand_trials(changed):
        assert (trial.config.train_for, trial.config.batch_size) == ("2 epochs", 16)
    assert "--config.ema: the experiment itself varies ema" in refused(
        lambda: change_experiment(asked, {"ema": "0.5"})
    )


@pytest.mark.parametrize("vary", [["ema=0.5,0.25"], [{"ema": [0.5, np.float32(0.25)]}]], ids=str)
def test_what_varies_may_be_a_text_or_a_mapping(vary: Any):
    found = expand_trials(experiment_from_flags(GOOD, {"seed": 3}, vary, 1, "", ""))
    assert [t.config.ema for t in found] == [0.5, 0.25]


@pytest.mark.parametrize("bounds", [(0, float("inf")), (float("nan"), 1), (1, 0)], ids=str)
def test_a_distribution_has_finite_bounds(bounds: tuple[float, float]):
    assert "expected finite bounds, low <= high" in refused(lambda: uniform(*bounds))
