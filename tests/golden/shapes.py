"""One walk through the commands on tiny models: what they print as JSON, and the files they leave.

Kept is the structure, nested keys and types of values; and of bundles the values too, where they
follow from the config alone.
"""

import json
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from tests.golden.door import ROOT, inside, json_of

KINDS = {
    "class": ["--config=configs/digits_cnn.py:tiny"],
    "next token": [
        "--config=configs/shakespeare_gpt.py:tiny",
        *("--config.lora.rank=2", "--config.lora.alpha=4.0", "--config.lora.train=norm"),
    ],
    "class of a text": ["--config=configs/trec_cnn.py:tiny"],
    "objects": ["--config=configs/bccd_detector.py:tiny"],
    "text": ["--config=configs/scan_simple.py:tiny"],
    "image": ["--config=configs/mnist_vae.py:tiny"],
}
"""A recipe for each kind of answer; one trains adapters."""

INPUT = {"next token": ["a b"], "class of a text": ["a b"], "text": ["jump"], "image": ["3"]}
"""What `predict` is given beside an example of the bundle's own, where it takes more than files."""

EXPERIMENT = """
from lepton_jax.ablation.experiment import Experiment, Published, Search, listed, log_uniform

def get_experiment():
    return Experiment(
        question="Does it run?",
        config="CONFIG",
        variants=listed({"a": {}, "b": {"optimizer.learning_rate": 1e-2}}),
        searches=[Search(name="c", space={"ema": log_uniform(0.5, 0.9)}, trials=2, rungs=(0.5,))],
        seeds=range(2),
        published={"a": Published(0.5, 1.0, "nowhere")},
    )
"""

VARIES = {
    "signature.json": {"exported", "jax", "jaxlib", "producer"},
    "lineage.json": {
        *("code", "command", "devices", "exported", "harness_code", "packages", "platform"),
        *("chain", "package", "processor", "python", "variables", "visible_cpus"),
    },
    "manifest.json": {"sha256", "size"},
}
"""Keys of a bundle's files whose values depend on time, machine or versions."""

OF_THE_MACHINE = "of the machine"
ELSEWHERE = {
    *("code", "commit", "data_account", "harness_code", "packages", "variables"),
    "seconds_a_step_and_trial",
}
"""Keys whose structure depends on where it is looked at."""

RECORD = ("provenance.json", "results.json", "status.json")
LINES = ("metrics.jsonl", "timings.jsonl")


def shape(value: Any) -> Any:
    """Returns a JSON value with types in the place of values; a list as its distinct elements."""
    if isinstance(value, dict):
        return {k: OF_THE_MACHINE if k in ELSEWHERE else shape(v) for k, v in value.items()}
    if isinstance(value, list):
        distinct = {json.dumps(shape(inner), sort_keys=True) for inner in value}
        return [json.loads(text) for text in sorted(distinct)]
    return "null" if value is None else type(value).__name__


def walk(folder: Path) -> dict[str, Any]:
    """Runs the commands in `folder`; returns the contents of json_shapes, bundle and record.json.

    The folder is the registry and the cache, too.
    """
    variables = {
        "LEPTON_JAX_REGISTRY": str(folder / "registry"),
        "LEPTON_JAX_CACHE": str(folder / "cache"),
    }
    printed: dict[str, Any] = {}
    with inside(folder, variables):
        (folder / "configs").symlink_to(ROOT / "configs")
        printed |= {name: shape(found) for name, found in _from_config_to_record()}
        printed |= {name: shape(found) for name, found in _from_record_to_bundle()}
        printed |= {name: shape(found) for name, found in _of_the_registry()}
        printed |= {name: shape(found) for name, found in _of_an_experiment(folder)}
        bundles = {kind: bundle(folder / "runs" / kind / "bundle") for kind in KINDS}
        records = {kind: record(folder / "runs" / kind) for kind in KINDS}
        records["experiment"] = experiment(folder / "experiment")
    return {"json_shapes": printed, "bundle": bundles, "record": records}


def bundle(folder: Path) -> dict[str, Any]:
    """Returns what a bundle says of itself, values included where no machine decides them."""
    said: dict[str, Any] = {
        name: _portable(json.loads((folder / name).read_bytes()), keys)
        for name, keys in VARIES.items()
    }
    said["metrics.json"] = shape(json.loads((folder / "metrics.json").read_bytes()))
    return said


def record(folder: Path) -> dict[str, Any]:
    """Returns the names of a record's files, and the structure of those that are JSON."""
    parts: dict[str, Any] = {"files": sorted({p.name for p in folder.iterdir()} - {"bundle"})}
    parts |= {name: shape(json.loads((folder / name).read_bytes())) for name in RECORD}
    for name in LINES:
        lines = (folder / name).read_text().splitlines()
        parts[name] = shape([json.loads(line) for line in lines])
    return parts


def experiment(folder: Path) -> dict[str, Any]:
    """Returns the names of an experiment's files, and the structure of those that are JSON."""
    names = {
        pattern: sorted({p.name for p in folder.glob(pattern)})
        for pattern in ("*", "packs/*/*", "tables/*", "trials/*/*")
    }
    pack = next(folder.glob("packs/*"))
    files = {"experiment.json": folder, "pack.json": pack, "packing.json": pack}
    texts = {name: json.loads((where / name).read_bytes()) for name, where in files.items()}
    shapes = {name: shape(value) for name, value in texts.items()}
    return {**names, **shapes}


def _from_config_to_record() -> Iterator[tuple[str, Any]]:
    """Trains a run of each kind and asks about them; yields a name and what was printed."""
    config = "--config=configs/digits_cnn.py:tiny"
    yield "train --dry_run", json_of("train", config, "--workdir=dry", "--dry_run")
    for kind, flags in KINDS.items():
        yield f"train: {kind}", json_of("train", *flags, f"--workdir=runs/{kind}")
    yield "evaluate", json_of("evaluate", "--workdir=runs/class", "--split=valid")
    yield "plan", json_of("plan", config)
    yield "runs", json_of("runs", "runs", "--sort=model.name")
    json_of("train", "--config=configs/mnist1d_logistic.py:tiny", "--workdir=small")
    yield "debug", json_of("debug", "--workdir=small", "--step=1")
    yield "augment", json_of("augment", config, "--out=augmented.png", "--examples=2")
    manifest = ("--topology=v5e-16", "--image=image:1", "--out=job.yaml")
    command = ("train", config, "--workdir=gs://bucket/digits")
    yield "submit: gke", json_of("submit", "--executor=gke", *manifest, "--json", *command)


def _from_record_to_bundle() -> Iterator[tuple[str, Any]]:
    """Exports the runs and lets the bundles answer; yields a name and what was printed."""
    for kind in KINDS:
        workdir, out = f"--workdir=runs/{kind}", f"runs/{kind}/bundle"
        yield f"export: {kind}", json_of("export", workdir, f"--out={out}")
        inputs = INPUT.get(kind, ())
        yield f"predict: {kind}", json_of("predict", f"--bundle={out}", "--examples=1", *inputs)
    methods = ("--examples=1", "--method=ablation", "--out=explained")
    yield "explain", json_of("explain", "--workdir=runs/class", *methods)
    adapters = ("--format=lora", "--out=adapters.safetensors")
    yield "export: lora", json_of("export", "--workdir=runs/next token", *adapters)
    for kind in ("class", "next token"):
        yield f"verify: {kind}", json_of("verify", f"--bundle=runs/{kind}/bundle")
    for source in ("--workdir=runs/next token", "--bundle=runs/next token/bundle"):
        name = f"generate {source.partition('=')[0]}"
        yield name, json_of("generate", source, "--prompt=a", "--tokens=2")


def _of_the_registry() -> Iterator[tuple[str, Any]]:
    """Registers and promotes two bundles; yields a name and what was printed."""
    model = "--model=m"
    for kind in ("class", "next token"):
        registered = json_of("register", f"--bundle=runs/{kind}/bundle", model)
        yield f"register: {kind}", registered
        yield f"promote: {kind}", json_of("promote", model, "--to=staging")
    yield "registry rollback", json_of("registry", "rollback", model, "--to=staging")
    yield "registry gate", json_of("registry", "gate", model, "--require=test/accuracy>=2")
    yield "promote: refused", json_of("promote", model, "--to=production", code=1)
    yield "registry list", json_of("registry", "list")
    yield "registry show", json_of("registry", "show", model)
    yield "registry diff", json_of("registry", "diff", "m/1", "m/2")
    yield "registry history", json_of("registry", "history", model)
    yield "predict --model", json_of("predict", "--model=m@staging", "--examples=1")


def _of_an_experiment(folder: Path) -> Iterator[tuple[str, Any]]:
    """Runs an experiment and looks at it; yields a name and what was printed."""
    config = "configs/mnist1d_mlp.py:tiny"
    (folder / "asked.py").write_text(EXPERIMENT.replace("CONFIG", config))
    asked, workdir = "--experiment=asked.py", "--workdir=experiment"
    yield "ablate --dry_run", json_of("ablate", asked, workdir, "--dry_run")
    yield "ablate", json_of("ablate", asked, workdir)
    yield "reproduce", json_of("reproduce", asked, workdir)
    yield "watch", json_of("watch", workdir)
    pack = sorted(folder.glob("experiment/packs/*"))[0].relative_to(folder)
    yield "pack", json_of("pack", f"--folder={pack}")


def _portable(value: Any, varies: Set[str]) -> Any:
    """Returns the value without those of the keys that vary."""
    if isinstance(value, dict):
        kept = {k: OF_THE_MACHINE for k in value if k in varies}
        return {k: _portable(v, varies) for k, v in value.items()} | kept
    if isinstance(value, list):
        return [_portable(v, varies) for v in value]
    return value
