"""Mistakes on a command line: one line that names the cause, and the command to try.

Each row is a line, what is said of it, and, where there is one, the line that is proposed.
"""

import shlex
from pathlib import Path

import pytest

from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
from lepton_jax.console import format_command
from tests.cli.light import assert_imports_nothing_heavy

ROOT = Path(__file__).parent.parent.parent
C = "--config=configs/digits_cnn.py"
TRAIN = f"train {C} --workdir=w"

LINES: list[tuple[str, str, str]] = [
    # commands
    ("trian --workdir=w", "no command 'trian' (did you mean 'train'?)", "train --workdir=w"),
    ("eval --workdir=w", "no command 'eval' (did you mean 'evaluate'?)", "evaluate --workdir=w"),
    ("fit", "(did you mean 'train'?)", "train"),
    ("ls", "(did you mean 'runs'?)", "runs"),
    ("sweep", "(did you mean 'ablate'?)", "ablate"),
    ("infer", "(did you mean 'predict'?)", "predict"),
    ("Train", "(did you mean 'train'?)", "train"),
    ("abc", "there is no command 'abc'; there are: ", "--help"),
    (f"{C} train", "stands before the command", f"train {C}"),
    # flags of other names
    (f"{TRAIN} --lr=0.1", "no flag --lr (", f"{TRAIN} --config.optimizer.learning_rate=0.1"),
    (f"{TRAIN} --lr 0.1", "no flag --lr (", f"{TRAIN} --config.optimizer.learning_rate=0.1"),
    (f"{TRAIN} --learning_rate=1", "--learn", f"{TRAIN} --config.optimizer.learning_rate=1"),
    (f"{TRAIN} --learning-rate=1", "--learn", f"{TRAIN} --config.optimizer.learning_rate=1"),
    (f"{TRAIN} --epochs=5", "no flag --epochs", f"{TRAIN} --config.train_for='5 epochs'"),
    (f"{TRAIN} --epochs 5", "no flag --epochs", f"{TRAIN} --config.train_for='5 epochs'"),
    (f"{TRAIN} --max_steps=9", "--max_steps", f"{TRAIN} --config.train_for='9 steps'"),
    (f"{TRAIN} --num-train-epochs=3", "--num", f"{TRAIN} --config.train_for='3 epochs'"),
    (f"{TRAIN} --batch-size=8", "--batch-size", f"{TRAIN} --config.batch_size=8"),
    (f"{TRAIN} --bs 8", "no flag --bs (", f"{TRAIN} --config.batch_size=8"),
    (f"{TRAIN} --wd=0.1", "no flag --wd (", f"{TRAIN} --config.optimizer.weight_decay=0.1"),
    (f"{TRAIN} --hidden=9", "no flag --hidden", f"{TRAIN} --config.model.width=9"),
    (f"{TRAIN} --width=9", "no flag --width", f"{TRAIN} --config.model.width=9"),
    (f"{TRAIN} --dropout=.1", "--dropout", f"{TRAIN} --config.model.dropout=.1"),
    (f"{TRAIN} --optimizer=sgd", "no flag --optim", f"{TRAIN} --config.optimizer.name=sgd"),
    (f"{TRAIN} --model=mlp", "no flag --model", f"{TRAIN} --config.model.name=mlp"),
    (f"{TRAIN} --patience=5", "--pat", f"{TRAIN} --config.early_stopping.patience=5"),
    (f"{TRAIN} --seed=1", "no flag --seed", f"{TRAIN} --config.seed=1"),
    (f"{TRAIN} --num_workers=2", "--num_workers", f"{TRAIN} --config.data.workers=2"),
    (f"{TRAIN} --grad_clip=1", "--grad_clip", f"{TRAIN} --config.optimizer.clip_norm=1"),
    (f"{TRAIN} --warmup_steps=9", "--warm", f"{TRAIN} --config.schedule.warmup=9"),
    (f"{TRAIN} --optimizer.lr=1", "--opt", f"{TRAIN} --config.optimizer.learning_rate=1"),
    (f"{TRAIN} --optimizer.name=sgd", "--opt", f"{TRAIN} --config.optimizer.name=sgd"),
    (f"{TRAIN} --optimiser.lr=1", "--opt", f"{TRAIN} --config.optimizer.learning_rate=1"),
    (f"{TRAIN} --set optimizer.lr=1", "--set", f"{TRAIN} --config.optimizer.learning_rate=1"),
    (f"{TRAIN} --set=seed=3", "no flag --set", f"{TRAIN} --config.seed=3"),
    (f"{TRAIN} --config.data.valid-fraction=0", "", f"{TRAIN} --config.data.valid_fraction=0"),
    (f"{TRAIN} --config.optimizer.learning-rate=1", "", ""),
    (f"{TRAIN} optimizer.lr=1", "unexpected", f"{TRAIN} --config.optimizer.learning_rate=1"),
    (f"{TRAIN} config.seed=1", "unexpected", f"{TRAIN} --config.seed=1"),
    (f"train {C} --output_dir=w", "no flag --output_dir (did you mean --workdir=w?)", TRAIN),
    (f"train {C} --logdir=w", "no flag --logdir (did you mean --workdir=w?)", TRAIN),
    (f"train {C} --workdr=w", "no flag --workdr (did you mean --workdir=w?)", TRAIN),
    (f"train {C} --workdr w", "(did you mean --workdir?)", f"train {C} --workdir w"),
    ("train --cfg=configs/digits_cnn.py --workdir=w", "no flag --cfg", TRAIN),
    (f"{TRAIN} --dry-run", "(did you mean --dry_run?)", f"{TRAIN} --dry_run"),
    (f"{TRAIN} --resume", "the same command goes on", TRAIN),
    (f"{TRAIN} --verbose", "progress is on stderr already", TRAIN),
    (f"{TRAIN} --gpus=2", "--config.strategy.name=mesh takes all devices", TRAIN),
    ("evaluate --workdir=w --verbsoe=1", "there are: --workdir, --split", "evaluate --help"),
    (
        "evaluate --workdir=w --config.seed=1",
        "takes no --config overrides: a record has its config; got --config.seed",
        "evaluate --help",
    ),
    ("export --workdir=w --output=b", "(did you mean --out=b?)", "export --workdir=w --out=b"),
    ("generate --bundle=b --max_new_tokens=9", "", "generate --bundle=b --tokens=9"),
    (f"ablate {C} --workdir=w --sweep ema=0,1", "", f"ablate {C} --workdir=w --vary ema=0,1"),
    ("runs --filter=seed=1", "(did you mean --where=seed=1?)", "runs --where=seed=1"),
    # words without a flag
    ("train configs/digits_cnn.py --workdir=w", "(did you mean --config=configs", TRAIN),
    ("train configs/digits_cnn.py w", "(did you mean --config=configs/digits_cnn.py --work", TRAIN),
    ("evaluate runs/a", "(did you mean --workdir=runs/a?)", "evaluate --workdir=runs/a"),
    ("verify bundles/a", "(did you mean --bundle=bundles/a?)", "verify --bundle=bundles/a"),
    ("reproduce e.py", "(did you mean --experiment=e.py?)", "reproduce --experiment=e.py"),
    (f"{TRAIN} extra", "unexpected argument 'extra'; it takes flags: --config", "train --help"),
    # values
    ("train --workdir=w", "train: --config is missing", "train --help"),
    (f"{TRAIN} --longer=maybe", "expected --longer alone, or --longer=false", "train --help"),
    (f"{TRAIN} --nolonger=3", "--nolonger=3 does not take an argument", "train --help"),
    (f"{TRAIN} --processes=two", "--processes=two: expected a whole number", "train --help"),
    (f"{TRAIN} --processes=0", "--processes: expected int > 0, got 0", ""),
    (f"train {C} --workdir", "--workdir has no value", "train --help"),
    (f"train {C} --workdir=", "expected a path, got '' (is a variable unset?)", "train --help"),
    (f"{TRAIN} --workdir=v", "--workdir is given twice", "train --help"),
    (f"{TRAIN} --config.seed", "--config.seed has no value", "train --help"),
    (f"{TRAIN} --config.seed=1 --config.seed=2", "--config.seed is given twice", "train --help"),
    ("plan --config=nothere.py", "there is no file nothere.py", ""),
    (
        "train --config=configs/digit_cnn.py --workdir=w",
        "there is no file configs/digit_cnn.py (did you mean 'digits_cnn.py'?)",
        TRAIN,
    ),
    (f"train {C}:tinny --workdir=w", "no form ':tinny'", f"train {C}:tiny --workdir=w"),
    ("registry lst", "no action 'lst' (did you mean 'list'?)", "registry list"),
    ("registry show", "registry show: --model is missing", ""),
    ("predict --bundle=b", "predict what?", ""),
    ("generate", "give one of --workdir=DIR, --bundle=DIR", ""),
    (f"plan {C} --price=2", "add --topology=CHIP:SHAPE", ""),
    (f"plan {C} --topology=v5x:4x4", "no chip is called 'v5x' (did you mean 'v5", ""),
    ("evaluate --workdir=nothere", "nothere holds no record of a run", "runs ."),
    ("verify --bundle=nothere", "--bundle=nothere: there is no such folder", ""),
    ("submit --executor=slurm trian", "no command 'trian' (did you mean 'train'?)", ""),
    ("submit --executor=slurm train --lr=1", "(did you mean --config.optimizer.learning", ""),
]
CONFIG_LINES: list[tuple[str, str, str]] = [
    (
        "model.drop=0",
        "--config.model.drop: no such key (did you mean 'dropout'?)",
        "model.dropout=0",
    ),
    ("optimizer.lr=1", "(did you mean 'learning_rate'?)", "optimizer.learning_rate=1"),
    ("lr=1", "--config.lr: no such key (did you mean", "optimizer.learning_rate=1"),
    ("dropout=0", "(did you mean 'model.dropout'?)", "model.dropout=0"),
    ("optimizer=sgd", "expected a section, got 'sgd' (did you", "optimizer.name=sgd"),
    ("optimzer.name=sgd", "--config.optimzer: no such key", "optimizer.name=sgd"),
    ("epochs=5", "(did you mean train_for = '5 epochs'?)", "train_for='5 epochs'"),
    ("model.name=ccn", "no model is called 'ccn' (did you mean 'cnn'?)", "model.name=cnn"),
    ("model.name=gpt2", "(did you mean 'transformer'?)", "model.name=transformer"),
    ("optimizer.name=adamv", "no optimizer is called 'adamv'", "optimizer.name=adam"),
    ("data.source.name=cifar10", "a data set of TFDS is name='tfds' with dataset='cifar10'", ""),
    ("schedule.name=onecycle", "(did you mean 'one_cycle'?)", "schedule.name=one_cycle"),
    ("data.augment=flp", "no transform is called 'flp' (did you mean", "data.augment=flip"),
    (
        "train_for=30",
        "expected a duration such as '500 steps', '10 epochs'",
        "train_for='30 epochs'",
    ),
    ("train_for='3 epoks'", "(did you mean '3 epochs'?)", "train_for='3 epochs'"),
    ("seed=two", "--config.seed: expected int, got 'two'", ""),
    ("batch_size=1e3", "expected int, got 1000.0 (did you mean 1000?)", "batch_size=1000"),
    ("batch_size=0", "--config.batch_size: expected int > 0, got 0", ""),
    (
        "model.normalize=yes",
        "expected bool, got 'yes' (did you mean true?)",
        "model.normalize=true",
    ),
    ("precision=bf16", "(did you mean 'bfloat16'?)", "precision=bfloat16"),
    ("best.mode=higher", "(did you mean 'max'?)", "best.mode=max"),
    ("optimizer.learning_rate=fast", "learning_rate: expected float, got 'fast'", ""),
    ("optimizer.name=sgd", "--config.optimizer.learning_rate: missing; expected float >= 0; ", ""),
    ("accumulate=3", "accumulate: 3 does not divide batch_size", ""),
]
"""Overrides of a config, which are judged by its components' keys."""


def assert_told(line: str, cause: str, cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run_line(COMMANDS, shlex.split(line))
    shown = capsys.readouterr()
    assert (code, result, shown.out) == (2, None, "")
    first, *rest = shown.err.splitlines()
    assert first.startswith("error: ")
    assert cause in first
    if cure:
        assert rest == [f"Try: {format_command(cure)}"]
    else:
        assert all(more.startswith("Try: ") for more in rest)


@pytest.mark.parametrize(("line", "cause", "cure"), LINES, ids=[line for line, _, _ in LINES])
def test_a_mistake_has_one_line_and_the_command_to_try(
    line: str,
    cause: str,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(ROOT)
    assert_told(line, cause, cure, capsys)


@pytest.mark.parametrize(
    ("key", "cause", "cure"), CONFIG_LINES, ids=[k for k, _, _ in CONFIG_LINES]
)
def test_a_mistake_in_an_override_is_named_as_it_was_written(
    key: str,
    cause: str,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(ROOT)
    tiny = f"train {C}:tiny --workdir=w"
    assert_told(f"{tiny} --config.{key}", cause, f"{tiny} --config.{cure}" if cure else "", capsys)


def test_a_run_without_its_config_is_gone_on_with_by_the_one_in_its_workdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path.parent)
    go_on = f"train --config={tmp_path.name}/config.json --workdir={tmp_path.name}"
    assert_told(
        f"train --workdir={tmp_path.name}", "--config is missing; the run in", go_on, capsys
    )


def test_the_nearest_recipe_may_be_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/photos.py").touch()
    monkeypatch.chdir(tmp_path)
    said = "no recipe of lepton_jax has this name (did you mean 'photos'?)"
    assert_told("train --config=photoz", said, "train --config=photos", capsys)


def test_of_several_mistakes_each_says_where_it_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = (ROOT / "configs/digits_cnn.py").read_text()
    recipe = tmp_path / "r.py"
    recipe.write_text(text.replace('"adamw"', '"adamx"'))
    assert "adamx" in recipe.read_text()
    line = ["train", f"--config={recipe}", "--workdir=w", "--config.batch_size=0"]
    assert run_line(COMMANDS, line)[0] == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: 2 problems in {recipe} and on the command line:",
        "  optimizer.name: no optimizer is called 'adamx' (did you mean 'adamax'?), or your own as "
        "'my_pkg.module:Name'",
        "  --config.batch_size: expected int > 0, got 0",
    ]


def test_mistakes_are_told_before_jax_is_imported():
    keys = [f"train {C}:tiny --workdir=w --config.{key}" for key, _, _ in CONFIG_LINES]
    assert_imports_nothing_heavy([*(line for line, _, _ in LINES), *keys], ROOT)
