"""Mistakes of the first days: commands, flags, values, overrides, and paths that are not there.

Each row is a line, what is said of it, and its cure; see `mistakes.py`.
"""

from tests.cli.home import ROOT

C = "--config=configs/digits_cnn.py"
TRAIN = f"train {C} --workdir=w"
TINY = f"train {C}:tiny --workdir=w"

LINES: list[tuple[str, str, str]] = [
    # commands
    ("trian --workdir=w", "no command 'trian' (did you mean 'train'?)", "train --workdir=w"),
    ("eval --workdir=w", "no command 'eval' (did you mean 'evaluate'?)", "evaluate --workdir=w"),
    ("fit", "(did you mean 'train'?)", "train"),
    ("ls", "(did you mean 'runs'?)", "runs"),
    ("sweep", "(did you mean 'ablate'?)", "ablate"),
    ("infer", "(did you mean 'predict'?)", "predict"),
    ("Train", "(did you mean 'train'?)", "train"),
    (
        "abc",
        "there is no command 'abc'; there are: ",
        "; there are: plan, train, evaluate",
    ),
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
    (
        f"{TRAIN} --config.optimizer.learning-rate=1",
        "",
        "train --config=configs/digits_cnn.py --workdir=w --config.optimizer.learning_rate=1",
    ),
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
    (
        "evaluate --workdir=w --verbsoe=1",
        "there are: --workdir, --split",
        "; there are: --workdir, --split, --checkpoint",
    ),
    (
        "evaluate --workdir=w --config.seed=1",
        "takes no --config overrides: a record has its config; got --config.seed",
        "evaluate --workdir=w",
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
    (
        f"{TRAIN} extra",
        "unexpected argument 'extra'; it takes flags: --config",
        "; it takes flags: --config, --workdir, --fresh",
    ),
    # values
    ("train --workdir=w", "train: --config is missing", "; give --config=VALUE"),
    (
        f"{TRAIN} --longer=maybe",
        "expected --longer alone, or --longer=false",
        "; expected --longer alone, or --longer=false",
    ),
    (f"{TRAIN} --nolonger=3", "--nolonger=3 does not take an argument", "; write --nolonger alone"),
    (
        f"{TRAIN} --processes=two",
        "--processes=two: expected a whole number",
        "; such as --processes=1",
    ),
    (
        f"{TRAIN} --processes=0",
        "--processes: expected int > 0, got 0",
        "train --config=configs/digits_cnn.py --workdir=w --processes=1",
    ),
    (f"train {C} --workdir", "--workdir has no value", "; expected --workdir=VALUE"),
    (f"train {C} --workdir=", "expected a path, got '' (is a variable unset?)", "; give one"),
    (
        f"{TRAIN} --workdir=v",
        "--workdir is given twice",
        "train --config=configs/digits_cnn.py --workdir=v",
    ),
    (
        f"{TRAIN} --config.seed",
        "--config.seed has no value",
        "; expected --config.seed=VALUE, such as --config.seed=true",
    ),
    (
        f"{TRAIN} --config.seed=1 --config.seed=2",
        "--config.seed is given twice",
        "train --config=configs/digits_cnn.py --workdir=w --config.seed=2",
    ),
    ("plan --config=nothere.py", "there is no file nothere.py", "list recipes"),
    (
        "train --config=configs/digit_cnn.py --workdir=w",
        "there is no file configs/digit_cnn.py (did you mean 'digits_cnn.py'?)",
        TRAIN,
    ),
    (f"train {C}:tinny --workdir=w", "no form ':tinny'", f"train {C}:tiny --workdir=w"),
    ("registry lst", "no action 'lst' (did you mean 'list'?)", "registry list"),
    ("registry show", "registry show: --model is missing", "registry list"),
    ("predict --bundle=b", "predict what?", "predict --bundle=b --examples=8"),
    (
        "generate",
        "give one of --workdir=DIR, --bundle=DIR",
        "; give one of --workdir=DIR, --bundle=DIR or --model=NAME@staging",
    ),
    (f"plan {C} --price=2", "add --topology=CHIP:SHAPE", "; add --topology=CHIP:SHAPE"),
    (
        f"plan {C} --topology=v5x:4x4",
        "no chip is called 'v5x' (did you mean 'v5",
        "plan --config=configs/digits_cnn.py --topology=v5p:4x4",
    ),
    ("evaluate --workdir=nothere", "nothere holds no record of a run", "runs ."),
    (
        "verify --bundle=nothere",
        "--bundle=nothere: there is no such folder",
        "; give the folder that `export` wrote",
    ),
    (
        "submit --executor=slurm trian",
        "no command 'trian' (did you mean 'train'?)",
        "submit --executor=slurm train",
    ),
    (
        "submit --executor=slurm train --lr=1",
        "(did you mean --config.optimizer.learning",
        "submit --executor=slurm train --config.optimizer.learning_rate=1",
    ),
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
    (
        "data.source.name=cifar10",
        "a data set of TFDS is name='tfds' with dataset='cifar10'",
        "data.source.name=tfds --config.data.source.dataset=cifar10",
    ),
    ("schedule.name=onecycle", "(did you mean 'one_cycle'?)", "schedule.name=one_cycle"),
    ("data.augment=flp", "no transform is called 'flp' (did you mean", "data.augment=flip"),
    (
        "train_for=30",
        "expected a duration such as '500 steps', '10 epochs'",
        "train_for='30 epochs'",
    ),
    ("train_for='3 epoks'", "(did you mean '3 epochs'?)", "train_for='3 epochs'"),
    ("seed=two", "--config.seed: expected int, got 'two'", "seed=0"),
    ("batch_size=1e3", "expected int, got 1000.0 (did you mean 1000?)", "batch_size=1000"),
    ("batch_size=0", "--config.batch_size: expected int > 0, got 0", "batch_size=8"),
    (
        "model.normalize=yes",
        "expected bool, got 'yes' (did you mean true?)",
        "model.normalize=true",
    ),
    ("precision=bf16", "(did you mean 'bfloat16'?)", "precision=bfloat16"),
    ("best.mode=higher", "(did you mean 'max'?)", "best.mode=max"),
    (
        "optimizer.learning_rate=fast",
        "learning_rate: expected float, got 'fast'",
        "optimizer.learning_rate=0.002",
    ),
    (
        "optimizer.name=sgd",
        "--config.optimizer.learning_rate: missing; expected float >= 0; ",
        "optimizer.name=sgd --config.optimizer.learning_rate=0.002",
    ),
    ("accumulate=3", "accumulate: 3 does not divide batch_size", "accumulate=2"),
]
"""Overrides of a config, which are judged by its components' keys."""

CONFIG = f"--config={ROOT}/configs/digits_cnn.py"
OTHER = f"train {CONFIG}:tiny --config.seed=3 --workdir=runs/other"

LOOKS: list[tuple[str, str, str]] = [
    ("evaluate --workdir=runs/digit", "(did you mean 'digits'?)", "evaluate --workdir=runs/digits"),
    (
        "evaluate --workdir=digits",
        "(did you mean 'runs/digits'?)",
        "evaluate --workdir=runs/digits",
    ),
    ("evaluate --workdir=runs", "runs holds no record of a run", "runs ."),
    ("evaluate --workdir=rnus/a", "(nor a folder rnus)", "runs runs"),
    (
        "evaluate --workdir=runs/digits --checkpoint=bets",
        "which has 10, 20",
        "evaluate --workdir=runs/digits --checkpoint=best",
    ),
    (
        "export --workdir=runs/digits --out=b --checkpoint=15",
        "which has 10, 20",
        "export --workdir=runs/digits --out=b --checkpoint=10",
    ),
    ("export --workdir=runs/digit --out=b", "", "export --workdir=runs/digits --out=b"),
    (
        "export --workdir=runs/digits --out=b --format=onnx",
        "; there are: bundle, hugging_face, lora",
        "export --workdir=runs/digits --out=b --format=bundle",
    ),
    ("export --workdir=runs/digits --out=file/b", "cannot create file: ", "; choose another path"),
    ("debug --workdir=runs/digit --step=1", "", "debug --workdir=runs/digits --step=1"),
    ("generate --workdir=runs/digit", "", "generate --workdir=runs/digits"),
    ("generate --bundle=bundles/digit", "", "generate --bundle=bundles/digits"),
    (
        "predict --bundle=bundles/digit a.png",
        "there is no such folder",
        "predict --bundle=bundles/digits a.png",
    ),
    ("predict --bundle=runs/digits a.png", "", "predict --bundle=runs/digits/bundle a.png"),
    ("verify --bundle=bundles/digit", "", "verify --bundle=bundles/digits"),
    ("verify --bundle=bundles/digits --workdir=no", "no holds no record", "runs ."),
    (
        "register --bundle=bundles/digit --model=m",
        "there is no such folder (did you mean",
        "register --bundle=bundles/digits --model=m",
    ),
    (
        "promote --bundle=bundles/digit --model=m",
        "there is no such folder (did you mean",
        "promote --bundle=bundles/digits --model=m",
    ),
    ("promote --model=digit", "no model is called 'digit'", "promote --model=digits"),
    (
        "predict --model=digit@staging a.png",
        "(did you mean 'digits'?)",
        "predict --model=digits@staging a.png",
    ),
    ("generate --model=nosuch", "no model is called 'nosuch'", "; there are: digits"),
    ("registry show --model=digit", "(did you mean 'digits'?)", "registry show --model=digits"),
    (
        "registry history --model=digit",
        "(did you mean 'digits'?)",
        "registry history --model=digits",
    ),
    (f"train {CONFIG} --workdir=file", "cannot create file: ", "; choose another path"),
    (f"train {CONFIG} --workdir=file/below", "cannot create file/below: ", "; choose another path"),
    (f"ablate {CONFIG} --workdir=file", "cannot create file: ", "; choose another path"),
    (
        "reproduce --experiment=no.py --workdir=file",
        "cannot create file: ",
        "; choose another path",
    ),
    ("reproduce --experiment=no.py", "there is no file no.py", "reproduce --experiment=nothing.py"),
    (f"augment {CONFIG} --out=no/x.png", "there is no folder no", "; make it first, mkdir -p no"),
    ("watch --workdir=runs/rate", "(did you mean 'rates'?)", "watch --workdir=runs/rates"),
    (
        "pack --folder=runs/rates",
        "runs/rates holds no pack (no pack.json)",
        "; give a folder that `ablate` wrote, WORKDIR/packs/ID",
    ),
    (
        OTHER,
        "holds a run of another",
        f"{OTHER} --fresh",
    ),
    (
        f"{OTHER} --dry_run",
        "of another",
        f"{OTHER} --fresh --dry_run",
    ),
    ("runs rnus", "rnus is not a folder (did you mean 'runs'?)", "runs runs"),
]
"""Lines in the folder of `home.py`, at whose paths and names a look is enough."""
