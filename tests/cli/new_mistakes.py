"""A hundred mistakes of people who know JAX, Keras, Lightning or Hydra, and type quickly.

They are made in the folder of `home.py`. Each row is a line, what is said of it, and its cure; see
`mistakes.py`.
"""

MINE = "train --config=mine.py --workdir=w"

CONFIG_LINES: list[tuple[str, str, str]] = [
    # choices
    ("precision=fp16", "got 'fp16' (did you mean 'bfloat16'?)", "precision=bfloat16"),
    ("precision=bf16-mixed", "(did you mean 'bfloat16'?)", "precision=bfloat16"),
    ("precision=32", "got 32 (did you mean 'float32'?)", "precision=float32"),
    ("best.mode=maximize", "expected 'max' or 'min', got 'maximize'", "best.mode=max"),
    ("data.order=shuffle", "(did you mean 'shuffled'?)", "data.order=shuffled"),
    ("data.placement=gpu", "(did you mean 'device'?)", "data.placement=device"),
    ("data.folds_of=al", "expected 'train' or 'all', got 'al'", "data.folds_of=all"),
    # truth values
    ("model.normalize=True1", "got 'True1' (did you mean true?)", "model.normalize=true"),
    ("model.normalize=on", "expected bool, got 'on'", "model.normalize=true"),
    ("model.normalize=0", "expected bool, got 0 (did you mean false?)", "model.normalize=false"),
    ("model.normalize=None", "expected bool, got None", "model.normalize=false"),
    # durations
    ("train_for=10epoch", "got '10epoch' (did you mean '10 epochs'?)", "train_for='10 epochs'"),
    ("train_for=10ep", "expected a duration such as '500 steps'", "train_for='10 epochs'"),
    ("train_for='10 eopchs'", "(did you mean '10 epochs'?)", "train_for='10 epochs'"),
    ("train_for='1k steps'", "(did you mean '1000 steps'?)", "train_for='1000 steps'"),
    ("train_for=500", "got '500' (did you mean '500 steps'?)", "train_for='500 steps'"),
    ("train_for='ten epochs'", "got 'ten epochs'", "train_for='3 steps'"),
    (
        "train_for='1.5 steps'",
        "expected a whole number of steps, got '1.5 steps'",
        "train_for='2 steps'",
    ),
    (
        "train_for='2 hours'",
        "expected a duration such as '500 steps', '10 epochs'",
        "train_for='3 steps'",
    ),
    ("train_for='0 epochs'", "expected more than nothing, got '0 epochs'", "train_for='3 steps'"),
    ("evaluate_every=epoch", "(did you mean '1 epochs'?)", "evaluate_every='1 epochs'"),
    ("evaluate_every=0.5", "got 0.5 (did you mean '0.5 epochs'?)", "evaluate_every='0.5 epochs'"),
    ("log_every=10", "got 10 (did you mean '10 steps'?)", "log_every='10 steps'"),
    ("log_every=1_epochs", "(did you mean '1 epochs'?)", "log_every='1 epochs'"),
    ("checkpoint_every=99its", "(did you mean '99 steps'?)", "checkpoint_every='99 steps'"),
    # numbers
    ("seed=-1", "expected int in [0, 2^32), got -1", "seed=0"),
    ("seed=42.0", "got 42.0 (did you mean 42?)", "seed=42"),
    ("seed=", "expected int, got ''", "seed=0"),
    ("batch_size=32,64", "expected int, got (32, 64)", "batch_size=8"),
    ("batch_size='\"64\"'", "got '64' (did you mean 64?)", "batch_size=64"),
    ("optimizer.learning_rate=0,001", "got '0,001'", "optimizer.learning_rate=0.001"),
    (
        "optimizer.learning_rate=-0.1",
        "expected float >= 0, got -0.1",
        "optimizer.learning_rate=0.1",
    ),
    ("optimizer.learning_rate=nan", "expected float, got 'nan'", "optimizer.learning_rate=0.001"),
    ("optimizer.b1=1.0", "expected float in [0, 1), got 1.0", "optimizer.b1=0.9"),
    ("model.dropout=50%", "got '50%' (did you mean 0.5?)", "model.dropout=0.5"),
    ("data.valid_fraction=10", "got 10.0 (did you mean 0.1?)", "data.valid_fraction=0.1"),
    ("model.features=32", "got 32 (did you mean (32,)?)", "model.features='(32,)'"),
    (
        "model.features=32,big",
        "expected a tuple of int > 0, got '32,big'",
        "model.features='(32, 64)'",
    ),
    ("profile=10", "expected a tuple (int >= 0, int > 0) or None, got 10", "profile='(10, 10)'"),
    (
        "early_stopping.patience='3 epochs'",
        "expected int, got '3 epochs'",
        "early_stopping.patience=3",
    ),
    # names
    (
        "optimizer.betas=0",
        "no such key; there are: b1, b2, eps",
        "; there are: b1, b2, eps, eps_root",
    ),
    ("optimizer.name=optax.adam", "(did you mean 'adam'?)", "optimizer.name=adam"),
    ("optimizer.name=torch:Adam", "there is no module 'torch'", "optimizer.name=adam"),
    ("model.name=ViT_B16", "no model is called 'ViT_B16' (did you mean 'vit'?)", "model.name=vit"),
    ("model.name=resnet18", "(did you mean 'resnet'?)", "model.name=resnet"),
    (
        "model.name=my_pkg.nets:Net",
        "there is no module 'my_pkg' on the Python path",
        "; add the folder that holds it: PYTHONPATH=FOLDER",
    ),
    ("model.name=pkg/nets.py:Net", "expected a module as Python", "model.name=pkg.nets:Net"),
    ("model.name=mine:Net", "module 'mine' has no 'Net'", "; it has: ConfigDict, get_config"),
    ("data.source.name=imagefolder", "(did you mean 'folder'?)", "data.source.name=folder"),
    ("metrics.top5.name=top5", "(did you mean 'top_k'?)", "metrics.top5.name=top_k"),
    ("metric.top2.name=top_k", "(did you mean 'metrics'?)", "metrics.top2.name=top_k"),
    ("evals.shifted.splitt=test", "(did you mean 'split'?)", "evals.shifted.split=test"),
    ("strategy.name=fsdp", "(did you mean 'mesh'?)", "strategy.name=mesh"),
    (
        "strategy.fsdp=8",
        "strategy 'jit' has no such key; mesh has",
        "strategy.name=mesh --config.strategy.fsdp=8",
    ),
    (
        "schedule.end=0.1",
        "schedule 'constant' has no such key; cosine, linear, one_cycle have",
        "schedule.name=cosine --config.schedule.end=0.1",
    ),
    # values in the place of sections
    ("model=resnet50", "(did you mean model.name=resnet?)", "model.name=resnet"),
    ("strategy=ddp", "got 'ddp' (did you mean strategy.name=pmap?)", "strategy.name=pmap"),
    ("writers=wandb", "(did you mean writers.wandb.name=wandb?)", "writers.wandb.name=wandb"),
    ("early_stopping=5", "expected a section, got 5", "early_stopping.patience=5"),
    (
        "data.source=cifar10",
        "(did you mean data.source.name=tfds with data.source.dataset=cifar10?)",
        "data.source.name=tfds --config.data.source.dataset=cifar10",
    ),
    # pipelines
    ("data.augment='pad_crop(4'", "(did you mean 'pad_crop(4)'?)", "data.augment='pad_crop(4)'"),
    ("data.augment='RandomCrop(4)'", "'RandomCrop' (did you", "data.augment='pad_crop(4)'"),
    ("data.augment='pad_crop(4),flip'", "(did you", "data.augment='pad_crop(4)|flip'"),
    ("data.decode=resize", "resize: height: missing; expected int", "; write resize(height=VALUE)"),
    # keys that need another, and files that are not there
    (
        "data.source.name=csv",
        "data.source.path: missing; expected path",
        "; give --config.data.source.path=VALUE",
    ),
    (
        "optimizer.groups.bias.pattern='(bias'",
        "expected a regular expression, got '(bias': missing )",
        "; close the bracket",
    ),
    (
        "init_fresh='*.bias'",
        "got '*.bias': nothing to repeat",
        "; write .* for any text",
    ),
    ("init_from=runs/digit", "there is no such file or folder", "init_from=runs/digits"),
    (
        "init_from=weights.pt",
        "init_from = 'weights.pt': there is no such file or folder",
        "; this folder holds: bundles, config.yaml, cut.json, cut.jsonl",
    ),
]
"""Overrides of a config."""

CSV = f"{MINE} --config.data.source.name=csv"
SGD = f"{MINE} --config.optimizer.name=sgd"
RATE = "--config.optimizer.learning_rate=1"
OVERLAP = f"{MINE} --config.schedule.name=cosine --config.schedule.warmup='5 epoch'"
ABLATE = "ablate --workdir=w --config=mine.py"

LINES: list[tuple[str, str, str]] = [
    (f"{CSV} --config.data.source.path=row.csv", "", f"{CSV} --config.data.source.path=rows.csv"),
    (
        f"{CSV} --config.data.source.path=",
        "expected a path, got '' (is a variable unset?)",
        "; give one",
    ),
    (f"{SGD} --config.optimizer.lr=1", "", f"{SGD} --config.optimizer.learning_rate=1"),
    (
        f"{OVERLAP} --config.train_for='3 epochs'",
        "'5 epochs' is longer than the run",
        f"{OVERLAP.replace('5 epoch', '0.3 epochs')} --config.train_for='3 epochs'",
    ),
    (
        f"{MINE} --config.schedule.name=rsqrt",
        "--config.schedule.warmup: '1_000 steps', the default of rsqrt, is longer than the run",
        f"{MINE} --config.schedule.name=rsqrt --config.schedule.warmup='1 steps'",
    ),
    (
        "train --config=digits_cnn:small --workdir=w",
        "has no form ':small'; it has: :tiny",
        "train --config=digits_cnn:tiny --workdir=w",
    ),
    # config files
    (
        "train --config=syntax.py --workdir=w",
        "syntax.py:15: syntax error: unmatched ')'",
        "; mend that line",
    ),
    (
        "train --config=packages.py --workdir=w",
        "packages.py:1: ModuleNotFoundError: No module",
        "; install the package that holds it, or add its folder to PYTHONPATH",
    ),
    ("train --config=raises.py --workdir=w", "raises.py:15: ZeroDivisionError", "; mend that line"),
    (
        "train --config=renamed.py --workdir=w",
        "no function get_config() (did you mean",
        "; a config file defines get_config(arg='')",
    ),
    (
        "train --config=plain.py --workdir=w",
        "returned dict, expected an ml_collections.Conf",
        "; end it with `return config`, of config = ConfigDict(...)",
    ),
    (
        "train --config=nothing.py --workdir=w",
        "returned NoneType, expected an ml_collections",
        "; end it with `return config`, of config = ConfigDict(...)",
    ),
    (
        "train --config=misspelt.py --workdir=w",
        "batchsize: no such key (did you mean",
        "(did you mean 'batch_size'?)",
    ),
    ("train --config=mine.py:tiny --workdir=w", "takes no argument, got ':tiny'", MINE),
    ("train --config=mine --workdir=w", "(did you mean 'mine.py'?)", MINE),
    (
        "train --config=digits_cnn:tini --workdir=w",
        "has no form ':tini' (did you mean 'tiny'?); it has: :tiny",
        "train --config=digits_cnn:tiny --workdir=w",
    ),
    (
        "train --config=config.yaml --workdir=w",
        "a .py file, or a record's config.json, got",
        "list recipes",
    ),
    (
        "train --config=cut.json --workdir=w",
        "cut.json is not JSON: Expecting property name",
        "; give a record's config.json, or FILE.py",
    ),
    (
        "train --config=list.json --workdir=w",
        "list.json: got [1, 2]",
        "; expected a record's config.json, or FILE.py",
    ),
    (
        "train --config=images --workdir=w",
        "recipe images: it is a folder",
        "; expected a name or a file, FILE.py",
    ),
    ("train --config= --workdir=w", "got '' (is a variable unset?)", "list recipes"),
    # flags
    (f"{MINE} --longer=yes", "expected --longer alone, or", f"{MINE} --longer=true"),
    (
        f"{MINE} --processes=1.5",
        "--processes=1.5: expected a whole number",
        "; such as --processes=1",
    ),
    (
        "train --config=mine.py --fresh --longer",
        "--longer goes on with a run that is there",
        "; give its --workdir, and no --fresh",
    ),
    (
        "train --config=mine.py --workdir=runs/other",
        "runs/other holds a run of another config; --fresh trains in a new folder beside it",
        "train --config=mine.py --workdir=runs/other --fresh",
    ),
    (
        "train --config=mine.py --workdir=runs/rates",
        "runs/rates holds an experiment of 2 trials; choose another --workdir",
        "train --config=mine.py --workdir=runs/rates-2",
    ),
    (
        "ablate --config=mine.py --workdir=runs/other --vary=ema=0,0.9",
        "runs/other holds a run; choose another --workdir",
        "ablate --config=mine.py --workdir=runs/other-2 --vary=ema=0,0.9",
    ),
    (f"{MINE} trainer.max_epochs=5", "unexpected", f"{MINE} --config.train_for='5 epochs'"),
    (f"{MINE} +optimizer.eps=0", "unexpected argument", f"{MINE} --config.optimizer.eps=0"),
    (
        f"{MINE} --multirun ema=0,0.9",
        "no flag --multirun (did you mean ablate?)",
        "ablate --config=mine.py --workdir=w --vary=ema=0,0.9",
    ),
    ("train mine.py --epochs 3", "", "train --config=mine.py --config.train_for='3 epochs'"),
    # records and bundles
    (
        "evaluate --workdir=runs/digits --split=tets",
        "there is no split 'tets' (did you mean 'test'?)",
        "evaluate --workdir=runs/digits --split=test",
    ),
    (
        "evaluate --workdir=runs/digits --split=validation",
        "there are: train, test, valid",
        "evaluate --workdir=runs/digits --split=valid",
    ),
    (
        "evaluate --workdir=runs/digits --checkpoint=runs/digits/checkpoints/10",
        "expected 'best', 'last' or a step",
        "evaluate --workdir=runs/digits --checkpoint=10",
    ),
    (
        "evaluate --workdir=runs/digits/checkpoints/10",
        "(did you mean 'runs/digits'?)",
        "evaluate --workdir=runs/digits",
    ),
    (
        "predict --bundle=bundles/digits nothere.png",
        "cannot read nothere.png: No such file",
        "; this folder holds: bundles, config.yaml, cut.json, cut.jsonl",
    ),
    (
        "predict --bundle=bundles/digits sevn.npy",
        "sevn.npy: No such file (did you mean 'seven.npy'?)",
        "predict --bundle=bundles/digits seven.npy",
    ),
    (
        "predict --bundle=bundles/digits images",
        "images: it is a folder; expected a file",
        "; expected a file",
    ),
    (
        "predict --workdir=runs/digits a.png",
        "predict takes a bundle, --bundle=DIR, or a model of the registry, --model=NAME@ALIAS",
        "predict --bundle=runs/digits/bundle a.png",
    ),
    (
        "predict --bundle=file a.png",
        "--bundle=file is a file",
        "; expected the folder of a bundle, or an archive",
    ),
    (
        "export --workdir=runs/digits --out=b --format=hf",
        "no format 'hf' (did you mean",
        "export --workdir=runs/digits --out=b --format=hugging_face",
    ),
    (
        "register --bundle=bundles/digits --model=my/digits",
        "a model's name is made of",
        "register --bundle=bundles/digits --model=my-digits",
    ),
    ("promote --model=digits --to=prod", "(did you", "promote --model=digits --to=production"),
    ("registry gate --model=digit", "(did you mean 'digits'?)", "registry gate --model=digits"),
    ("predict --model=digit@prod a.png", "no model is", "predict --model=digits@prod a.png"),
    (f"submit --executor=slurm {MINE} --lr=1", "", f"submit --executor=slurm {MINE} {RATE}"),
    ("registry show digits", "(did you mean --model=digits?)", "registry show --model=digits"),
    (
        "registry gate --model=digits --require='test/loss=0.9'",
        "expected METRIC, one of >= <= > <, and a number",
        "registry gate --model=digits --require='test/loss<=0.9'",
    ),
    (
        "registry gate --model=digits --require=accuracy",
        "gate 'accuracy': expected METRIC",
        "; such as 'test/accuracy>=0.98', or 'signed'",
    ),
    (
        "generate --bundle=bundles/digits --temperature=-1",
        "expected float >= 0, got -1.0",
        "generate --bundle=bundles/digits --temperature=1.0",
    ),
    # plans, experiments, lists
    ("plan --config=mine.py --topology=v5e", "", "plan --config=mine.py --topology=v5e:2x2"),
    (
        "plan --config=mine.py --topology=v5e:4x4x4",
        "v5e takes 2 numbers",
        "plan --config=mine.py --topology=v5e:4x4",
    ),
    (f"{ABLATE} --vary lr=1,2", "", f"{ABLATE} --vary=optimizer.learning_rate=1,2"),
    (f"{ABLATE} --vary optimizer.name=sgdd,adamw", "", f"{ABLATE} --vary=optimizer.name=sgd,adamw"),
    (
        f"{ABLATE} --vary optimizer.eps",
        "'optimizer.eps': expected KEY=VALUE,VALUE",
        "; such as optimizer.learning_rate=1e-3,3e-3",
    ),
    (f"{ABLATE} --mode=higher", "no mode 'higher' (did you", f"{ABLATE} --mode=max"),
    (f"{ABLATE} --executor=slrum", "no executor 'slrum' (did", f"{ABLATE} --executor=slurm"),
    (
        f"{ABLATE} --pack=9.5",
        "no way to pack '9.5'",
        "; there are: auto, serial, a number of lanes",
    ),
    (f"{ABLATE} --seeds=1,2,3", "--seeds=1,2,3: expected a whole number", "; such as --seeds=3"),
    (
        "serve --bundle=bundles/digits --deadline=500ms",
        "--deadline=500ms: expected a number of seconds",
        "serve --bundle=bundles/digits --deadline=0.5",
    ),
    (
        "serve --bundle=bundles/digits --max_body=8MB",
        "--max_body=8MB: expected a whole number of bytes",
        "serve --bundle=bundles/digits --max_body=8000000",
    ),
    (
        "serve bundles/digits --port=8001",
        "unexpected argument 'bundles/digits' (did you mean --bundle=bundles/digits?)",
        "serve --bundle=bundles/digits --port=8001",
    ),
    (
        "serve --bundle=bundles/digits --program=onx",
        "no program 'onx' (did you mean 'onnx'?)",
        "serve --bundle=bundles/digits --program=onnx",
    ),
    (
        "serve --bundle=runs/other",
        "runs/other holds a run, and no bundle",
        "export --workdir=runs/other --out=runs/other/bundle",
    ),
    (
        "improve --model=digits@production --requests=runs --workdir=w",
        "expected the name alone, without a version or an alias",
        "improve --model=digits --requests=runs --workdir=w",
    ),
    (
        "monitor --url=localhost:8000",
        "expected an address, such as http://localhost:8000",
        "monitor --url=http://localhost:8000",
    ),
    (
        "ablate --workdir=w --experiment=unknown_key.py",
        "variant 'a': model.widht: no such",
        "; there are: features, hidden, padding, normalize, dropout",
    ),
    (
        "ablate --workdir=w --experiment=unknown_value.py",
        "no optimizer is called 'adamx'",
        "(did you mean 'adamax'?)",
    ),
    (
        "ablate --workdir=w --experiment=unknown_baseline.py",
        "no variant is called 'smal'",
        "; there are: small, large",
    ),
    (
        "ablate --workdir=w --experiment=no_variants.py",
        "no variants and no searches",
        "; give variants=[...]",
    ),
    (
        "ablate --workdir=w --experiment=twice.py",
        "two variants are called 'a'",
        "; give each its own name",
    ),
    ("evaluate --workdir=runs/rates", "an experiment of 2 trials", "runs runs/rates"),
    ("reproduce --experiment=mnsit1d", "(did you mean", "reproduce --experiment=mnist1d"),
    ("runs --format=md", "got 'md' (did you mean 'markdown'?)", "runs --format=markdown"),
    (
        "runs --where='test/f1 => 0.9'",
        "cannot read 'test/f1 => 0.9'",
        "runs --where='test/f1>=0.9'",
    ),
    ("runs --columns=seed,modle.name", "no run has 'modle.name'", "runs --columns=seed,model.name"),
    ("describe config.optimizer.lr", "", "describe config.optimizer.learning_rate"),
    ("completion tcsh", "no shell 'tcsh'", "; there are: bash, zsh, fish"),
    (
        "lr_find --config=mine.py --out=a.pdf",
        "ends in .png",
        "lr_find --config=mine.py --out=a.png",
    ),
]
"""Whole command lines."""

SLOW_CONFIG_LINES: list[tuple[str, str, str]] = [
    ("best.metric=valid/acc", "is not measured while training", "best.metric=valid/accuracy"),
    (
        "strategy.name=mesh --config.strategy.fsdp=3",
        "does not divide the",
        "strategy.name=mesh --config.strategy.fsdp=2",
    ),
    (
        "data.source.name=csv --config.data.source.path=ragged.csv",
        "ragged.csv",
        "; give line 3 as many",
    ),
    (
        "data.source.name=csv --config.data.source.path=rows.csv",
        "needs a field 'image'",
        "; give data that has it, or another task.name",
    ),
    (
        "data.source.name=csv --config.data.source.path=empty.csv",
        "empty.csv",
        "; give a file with examples",
    ),
    (
        "data.source.name=jsonl --config.data.source.path=cut.jsonl",
        "cut.jsonl, line 2",
        "; mend or drop that line",
    ),
    (
        "data.source.name=npz --config.data.source.path=not.npz",
        "not a readable .npz file",
        "; write one by numpy.savez",
    ),
    (
        "data.source.name=npz --config.data.source.path=images",
        "not a readable .npz file",
        "; write one by numpy.savez",
    ),
    (
        "data.source.name=folder --config.data.source.path=rows.csv",
        "rows.csv: not a folder",
        "; expected SPLIT/CLASS/*.png or CLASS/*.png",
    ),
    (
        "data.source.name=folder --config.data.source.path=images",
        "images",
        "; expected SPLIT/CLASS/*.png or CLASS/*.png",
    ),
]
"""Overrides that are wrong for the data or the devices, which JAX is imported to see."""
