"""Writes `old/`: what a tree leaves behind, so that later trees can be shown to go on with it.

    python -m tests.golden.make_old

What lies there was made at commit 8f375ea, and is worth nothing if it is made again by a later one:
run this only to add something beside it.

    unfinished   a run on digits, stopped in the middle of an interval
    finished     the same run, left alone
    carried      a language model of texts that carries its state, stopped
    experiment   two packs of four trials: one finished, one stopped
    bundle, bundle_text   of `finished`, and of `carried` at its end; both verified
    expected     what the resumed runs and trials come to, and what the bundles answer

Workdirs are relative, and provenance keeps no host: nothing of the machine is in there but what the
bits depend on (`machine_of_bits`) and a neutral path (`SCRATCH`).
"""

import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.golden.door import ROOT, inside, json_of, launch

OLD = Path(__file__).parent / "old"
SCRATCH = Path("/tmp/lepton_jax")
"""A neutral path: Orbax writes it into its commit_success.txt, of which there is a digest."""

SHORT = (
    "--config.train_for=60 steps",
    "--config.evaluate_every=15 steps",
    "--config.checkpoint_every=30 steps",
    "--config.log_every=10 steps",
    "--config.keep_last=1",
    "--config.writers={}",
)
DIGITS = (
    "--config=configs/digits_cnn.py",
    "--config.model.features=(4, 8)",
    "--config.model.hidden=16",
    "--config.model.dropout=0.1",
    "--config.optimizer.learning_rate=5e-3",
    "--config.schedule.warmup=5 steps",
    "--config.ema=0.8",
    *SHORT,
)
TEXT = (
    "--config=configs/shakespeare_lstm.py",
    "--config.model.width=16",
    "--config.model.layers=1",
    "--config.data.source.name=generated_texts",
    "--config.data.source.examples=64",
    "--config.data.encode.length=16",
    "--config.batch_size=4",
    "--config.schedule.warmup=5 steps",
    *SHORT,
)
VARIED = ("--config.optimizer.learning_rate=", "--config.model.hidden=")
ASKED = (
    *(flag for flag in DIGITS if not flag.startswith(VARIED)),  # which --vary gives
    "--vary=optimizer.learning_rate=3e-3,1e-2",
    "--vary=model.hidden=16,8",
    "--seeds=2",
)

PACKAGES = ("flax", "jax", "jaxlib", "ml_collections", "numpy", "optax", "orbax-checkpoint")
"""Distributions whose versions stay in a provenance."""


class Stopper(io.StringIO):
    """A stderr that asks the run to save and stop when it reads the first line of its progress.

    `times`: how often it has to read it; each pack of an experiment says it anew.
    """

    def __init__(self, times: int = 1):
        super().__init__()
        self._left = times

    def write(self, text: str) -> int:
        """Keeps the text, and sends SIGTERM to this process when it has been read often enough."""
        self._left -= sum(now != last for now, last in re.findall(r"step +(\d+)/(\d+)", text))
        if self._left == 0:
            self._left = -1
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


def make(scratch: Path) -> None:
    """Makes everything in a scratch folder, and moves it to `old/`."""
    variables = {"LEPTON_JAX_CACHE": str(scratch / "cache")}
    with inside(scratch, variables):
        (scratch / "configs").symlink_to(ROOT / "configs")
        for name, flags, whole in (("unfinished", DIGITS, "finished"), ("carried", TEXT, "text")):
            launch("train", *flags, f"--workdir={name}", err=Stopper())
            json_of("train", *flags, f"--workdir={whole}")
            shutil.copytree(name, "resumed")
            json_of("train", *flags, "--workdir=resumed")
            expect(scratch, f"{name}.jsonl", scratch / "resumed", scratch / whole)
            shutil.rmtree("resumed")
        launch("ablate", *ASKED, "--workdir=experiment", err=Stopper(times=2))
        shutil.copytree("experiment", "kept")
        json_of("ablate", *ASKED, "--workdir=experiment")
        json_of("ablate", *ASKED, "--workdir=alone")
        for trial in sorted(scratch.glob("alone/trials/*")):
            expect(
                scratch, f"{trial.name}.jsonl", scratch / "experiment/trials" / trial.name, trial
            )
        shutil.rmtree("experiment")
        shutil.move("kept", "experiment")
        for folder in ("unfinished", "finished", "carried", "text", "experiment"):
            neutral(scratch / folder)
        for run, bundle in (("finished", "bundle"), ("text", "bundle_text")):
            json_of("export", f"--workdir={run}", f"--out={bundle}")
            json_of("verify", f"--bundle={bundle}")
            answers = json_of("predict", f"--bundle={bundle}", "--examples=4")
            (scratch / "expected" / f"{bundle}.json").write_text(json.dumps(answers, indent=1))
        machine = json.dumps(machine_of_bits(), indent=1)
        (scratch / "expected" / "machine.json").write_text(machine)
        for name in ("unfinished", "finished", "carried", "experiment", "bundle", "bundle_text"):
            shutil.move(scratch / name, OLD / name)
        shutil.move(scratch / "expected", OLD / "expected")


def machine_of_bits() -> dict[str, Any]:
    """Returns what the bits of a run depend on, beside this tree: versions, CPUs, instructions."""
    cpus = Path("/proc/cpuinfo")
    words = set(cpus.read_text().split()) if cpus.exists() else set()
    return {
        "jaxlib": importlib.metadata.version("jaxlib"),
        "numpy": importlib.metadata.version("numpy"),
        "visible_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "instructions": sorted(w for w in words if w.startswith(("amx", "avx", "fma"))),
    }


def expect(scratch: Path, name: str, resumed: Path, whole: Path) -> None:
    """Keeps the metrics of a resumed run, which are those of the run that was left alone."""
    metrics = (resumed / "metrics.jsonl").read_bytes()
    assert metrics == (whole / "metrics.jsonl").read_bytes(), name
    (scratch / "expected").mkdir(exist_ok=True)
    (scratch / "expected" / name).write_bytes(metrics)


def neutral(folder: Path) -> None:
    """Takes out what is made again, and what says where the records in a folder were made."""
    for pattern in ("**/*.png", "**/report.html", "tables"):
        for path in folder.glob(pattern):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    for path in folder.glob("**/provenance.json"):
        path.write_text(json.dumps(_without_machine(json.loads(path.read_bytes())), indent=2))
    asked = folder / "experiment.json"
    if asked.exists():
        found = json.loads(asked.read_bytes())
        found["provenance"] = _without_machine(found["provenance"])
        asked.write_text(json.dumps(found, indent=2))


def _without_machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a provenance without host, folders, and versions of what computes nothing."""
    packages = {name: version for name, version in facts["packages"].items() if name in PACKAGES}
    code = facts["harness_code"] and {**facts["harness_code"], "untracked": []}
    command = facts["command"].replace(f"{ROOT}/", "")
    return {
        **facts,
        **{"command": command, "host": "host", "platform": "Linux"},
        **{"packages": packages, "harness_code": code},
    }


if __name__ == "__main__":
    make(SCRATCH)
    shutil.rmtree(SCRATCH)
