"""What it costs that runs can be checked, and what checking finds: `python -m benchmarks.checked`.

cost        the digests of a state, over an epoch of training with one save
elsewhere   runs replayed where their bits may differ: how far numbers and arrays lie apart
forgeries   false records, and how many of them a replay finds
"""

import argparse
import copy
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPES = ("digits_cnn", "mnist1d_gru", "markov_decoder")
EPOCHS = (1, 2, 12)
"""Lengths of runs: the first compiles, and an epoch is measured by the other two."""
SPANS = 20
SEEDS = 100
"""Drawings of each forgery: a replay of each is as likely as of any other."""
DRAWS = (1, 2, 3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checked", description=__doc__)
    parser.add_argument("what", choices=["cost", "elsewhere", "forgeries"])
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    given = parser.parse_args()
    if given.what == "forgeries":
        measure_forgeries()
    for recipe in given.recipes if given.what != "forgeries" else ():
        {"cost": measure_cost, "elsewhere": measure_elsewhere}[given.what](recipe)


def measure_cost(recipe: str) -> None:
    """Prints what the digests of a recipe's state cost, over an epoch of its run with one save."""
    import lepton_jax
    from lepton_jax.cluster.processes import Processes
    from lepton_jax.tracking.chain import Basis
    from lepton_jax.tracking.state_chain import StateFile
    from lepton_jax.training.saved import load_run
    from lepton_jax.training.state_digests import StateDigests

    keys = {"checkpoint_every": "1 epochs", "evaluate_every": "1 epochs", "writers": "{}"}
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for epochs in EPOCHS:
            began = time.process_time()
            more = {**keys, "train_for": f"{epochs} epochs"}
            lepton_jax.train(recipe, f"{folder}/{epochs}", overrides=more)
            seconds[epochs] = time.process_time() - began
        state = load_run(f"{folder}/{epochs}", "last").state
        digests, states = StateDigests(Processes()), StateFile(folder)
        held, whole = [], []
        for step in range(30):
            began, cpu = time.thread_time(), time.process_time()
            finish = digests.start(state)
            held.append(time.thread_time() - began)
            leaves = finish()
            states.add(Basis(step, 0, "0" * 64, "", {}), leaves)
            whole.append(time.process_time() - cpu)
        digests.close()
    _, few, many = EPOCHS
    epoch = (seconds[many] - seconds[few]) / (many - few)
    cost, wait = statistics.median(whole), statistics.median(held)
    print(
        f"{recipe}: {len(leaves)} arrays, {cost * 1e3:.1f} ms of CPU a save ({wait * 1e3:.1f} ms "
        f"in the loop), an epoch of a run {epoch:.2f} s of CPU: {cost / epoch:.2%}",
        flush=True,
    )


def measure_elsewhere(recipe: str) -> None:
    """Prints how far a run and its replay lie apart, on one CPU and in another placement."""
    with tempfile.TemporaryDirectory() as folder:
        keys = ("train_for=100 steps", "checkpoint_every=25 steps", "log_every=5 steps")
        keys += ("evaluate_every=25 steps", "keep_last=9", "writers={}")
        flags = [f"--config.{key}" for key in keys]
        four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
        here = f"{folder}/here"
        _lepton(["train", f"--config={recipe}", f"--workdir={here}", *flags])
        _show(recipe, "here", _replay(here, {}))
        _show(recipe, "one CPU", _replay(here, {}, ["taskset", "-c", "0"]))
        spread = f"{folder}/spread"
        train = ["train", f"--config={recipe}", f"--workdir={spread}", *flags]
        _lepton([*train, "--config.strategy.name=pmap"], four)
        _show(recipe, "4 devices, replayed on 1", _replay(spread, {}))


def _replay(workdir: str, variables: dict[str, str], before: list[str] | None = None) -> Any:
    words = ["replay", f"--workdir={workdir}", "--spans=9", "--json"]
    return json.loads(_lepton(words, variables, before))


def _lepton(
    words: list[str], variables: dict[str, str] | None = None, before: list[str] | None = None
) -> str:
    command = [*(before or []), sys.executable, "launch.py", *words]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **(variables or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return done.stdout


def _show(recipe: str, where: str, verdict: Any) -> None:
    spans = verdict["spans"]
    equal = sum(span["equal"] for span in spans)
    numbers = max(float(span["apart"]) for span in spans)
    arrays = max(float(span["arrays_apart"]) for span in spans)
    print(
        f"{recipe}, {where}: holds {verdict['ok']}, by {verdict['compared']}; {equal} of "
        f"{len(spans)} spans equal, numbers by {numbers:.1e}, arrays by {arrays:.1e}",
        flush=True,
    )


def measure_forgeries() -> None:
    """Prints how many false records are found, by the share of their steps that is false.

    Each record is replayed once, and is refused if and only if a false span was drawn. Then it is
    counted, seed by seed, which draws hold a false span. What a span computes is kept, as all
    records have the same states.
    """
    import lepton_jax
    from lepton_jax.replay.replay import replay_run
    from lepton_jax.replay.replayer import Replayer
    from lepton_jax.replay.spans import draw_spans, list_spans
    from tests.replay.forge import forge_rows

    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "model": {"name": "mlp", "features": (8,)},
            "task": {"name": "image_classification"},
            "data": {"source": {"name": "generated_images", "classes": 4, "examples": 150}},
            "optimizer": {"name": "sgd", "learning_rate": 1e-2},
            **{"batch_size": 16, "train_for": "100 steps", "evaluate_every": "100 steps"},
            **{"checkpoint_every": "5 steps", "log_every": "5 steps", "keep_last": SPANS},
            "writers": {},
        }
        lepton_jax.train(config, f"{folder}/true")
        replayers: dict[str, Replayer] = {}
        assert replay_run(f"{folder}/true", spans=SPANS, seed=0, replayers=replayers).ok
        (replayer,) = replayers.values()
        compute, known = replayer.compute, dict[Any, Any]()

        def compute_once(workdir: str, span: Any, *rest: Any) -> Any:
            if span not in known:
                known[span] = compute(workdir, span, *rest)
            return copy.deepcopy(known[span])

        replayer.compute = compute_once  # type: ignore[method-assign]
        every = list_spans(range(0, 5 * SPANS + 1, 5))
        forged = Path(folder, "forged")
        for share, count in ((0.1, 66), (0.2, 67), (0.5, 67)):
            caught, really = dict.fromkeys(DRAWS, 0), 0
            for _ in range(count):
                false = {*rng.sample(every, round(share * SPANS))}
                ends = {span.end for span in false}

                def better(row: dict[str, Any], at: set[int] = ends) -> None:
                    if row["step"] in at and "train/loss" in row:
                        row["train/loss"] *= 0.999

                shutil.rmtree(forged, ignore_errors=True)
                shutil.copytree(Path(folder, "true"), forged)
                forge_rows(forged, better)
                seed = rng.randrange(2**31)
                verdict = replay_run(str(forged), spans=3, seed=seed, replayers=replayers)
                assert verdict.ok == false.isdisjoint(draw_spans(every, 3, seed))
                really += not verdict.ok
                for draws in DRAWS:
                    for seed in (rng.randrange(2**31) for _ in range(SEEDS)):
                        caught[draws] += not false.isdisjoint(draw_spans(every, draws, seed))
            print(
                f"{share:.0%} of the steps false: {really} of {count} replays with 3 draws refused"
            )
            for draws in DRAWS:
                wanted = 1 - (1 - share) ** draws
                print(
                    f"{share:.0%} of the steps false, {draws} draws: {caught[draws]:,} of "
                    f"{count * SEEDS:,} found ({caught[draws] / (count * SEEDS):.1%}), expected "
                    f"{wanted:.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
