"""The way of a model into production, command by command: `make graduate`.

A model of the digits is trained, exported, verified, signed, put behind a gate and promoted. A
worse model is refused, by what it misses; a better one takes its place, and is rolled back. What is
in production then is rebuilt, byte for byte. Each command is printed with what it says, the last
lines of it, and its seconds. A command that does not end as it should stops the script.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

GATE = (
    "test/accuracy>=0.95,lower(test/accuracy)>=0.93,recall(each)>=0.8,calibration<=0.1,"
    "test/accuracy>=production-0.01,latency<=50ms,size<=10MB,replayed>=2,signed"
)
SHOWN = 12
"""Lines of a command that are shown, at most."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graduate", description=__doc__)
    parser.add_argument("folder", nargs="?", default="runs/graduate")
    folder = Path(parser.parse_args().folder)
    folder.mkdir(parents=True, exist_ok=False)
    os.environ["LEPTON_JAX_REGISTRY"] = str((folder / "registry").resolve())
    os.environ["LEPTON_JAX_TRUST"] = str((folder / "trusted_keys.json").resolve())
    began = time.monotonic()
    key = f"{folder}/alice"
    run("sign", f"--new_key={key}.pem")
    run("trust add", f"{key}.pub", "--name=alice")
    make(folder, "first", "15 epochs", key)
    run("register", f"--bundle={folder}/first/bundle", "--model=digits")
    run("registry gate", "--model=digits", f"--require={GATE}")
    run("promote", "--model=digits/1", "--to=production", expected=1)  # not in staging
    run("promote", "--model=digits/1", "--to=staging")
    run("promote", "--model=digits@staging", "--to=production")
    make(folder, "worse", "3 epochs", key)
    run("registry gate", "--model=digits", f"--try={folder}/worse/bundle", expected=1)
    run("promote", f"--bundle={folder}/worse/bundle", "--model=digits", expected=1)
    make(folder, "better", "30 epochs", key)
    run("promote", f"--bundle={folder}/better/bundle", "--model=digits")
    run("promote", "--model=digits@staging", "--to=production")
    run("registry diff", "digits/1", "digits@production", f"--out={folder}/changed.png")
    run("registry rollback", "--model=digits", "--to=production")
    run("registry history", "--model=digits")
    run("trace", "digits@production", f"--runs={folder}", "--rebuild", f"--out={folder}/again")
    took, spent = time.monotonic() - began, children_seconds()
    print(f"\nAll of it took {took:.0f} s, {spent:.0f} s of a processor; it is in {folder}")


def make(folder: Path, name: str, epochs: str, key: str) -> None:
    """Trains a model for so long, and makes a bundle of it, verified and signed."""
    workdir, bundle = f"{folder}/{name}", f"{folder}/{name}/bundle"
    keys = {"train_for": epochs, "checkpoint_every": "3 epochs", "keep_last": "3"}
    changed = [f"--config.{k}={v}" for k, v in keys.items()]
    run("train", "--config=digits_cnn", f"--workdir={workdir}", *changed)
    run("export", f"--workdir={workdir}", f"--out={bundle}")
    run("verify", f"--bundle={bundle}")
    run("sign", f"--bundle={bundle}", f"--key={key}.pem", f"--workdir={workdir}", "--spans=2")


def run(command: str, *arguments: str, expected: int = 0) -> None:
    """Runs a command, and prints it with what it says and its seconds."""
    words = [*command.split(), *arguments]
    shown = " ".join(f"'{w}'" if set(w) & set(" >()") else w for w in words)
    print(f"\n$ lepton {shown}", flush=True)
    began, spent = time.monotonic(), children_seconds()
    ran = subprocess.run(
        [sys.executable, "-m", "lepton_jax", *words], capture_output=True, text=True
    )
    said = (ran.stdout.rstrip() or ran.stderr.rstrip()).splitlines()
    print("\n".join(said[-SHOWN:]))
    took, spent = time.monotonic() - began, children_seconds() - spent
    print(f"[{took:.1f} s, {spent:.1f} s of a processor, exit code {ran.returncode}]", flush=True)
    if ran.returncode != expected:
        sys.exit(f"expected exit code {expected}\n{ran.stderr}")


def children_seconds() -> float:
    """Returns the processor seconds of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
