"""How long a user waits: for help, for the news of a typo, for the first step."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.pairs import Line

TRAIN = ("train", "--config=configs/digits_cnn.py")

FIRST_STEP = """
import os, runpy, sys, time
import jax
from lepton_jax.training import train
make = train.feed_for_run
def timed(*arguments):
    feed = make(*arguments)
    step = feed.step
    def first(*arguments):
        jax.block_until_ready(step(*arguments))
        print(time.time() - float(os.environ['BEGAN']), flush=True)
        os._exit(0)
    feed.step = first
    return feed
train.feed_for_run = timed
sys.argv[0] = 'launch.py'
runpy.run_path('launch.py', run_name='__main__')
"""


def lines(repeats: int = 5) -> list[Line]:
    helps = statistics.median(_seconds("--help") for _ in range(repeats))
    errors = statistics.median(
        _seconds(*TRAIN, "--config.optimzer.name=adam", "--workdir=w") for _ in range(repeats)
    )
    pairs = [_cold_and_warm() for _ in range(repeats)]
    cold, warm = (statistics.median(x) for x in zip(*pairs, strict=True))
    share = statistics.median(w / c for c, w in pairs)
    return [
        Line("`--help`", f"{helps:.2f} s", "<= 0.3 s", helps <= 0.3),
        Line("a config error", f"{errors:.2f} s", "<= 2 s", errors <= 2),
        Line(
            "start to first step, second `train` over the first",
            f"{share:.2f}",
            "< 0.5",
            share < 0.5,
            f"{cold:.1f} s cold, {warm:.1f} s from the compilation cache",
        ),
    ]


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "launch.py", *arguments], capture_output=True, check=False)
    return time.perf_counter() - began


def _cold_and_warm() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as cache:
        first, second = (_to_first_step(cache, f"{cache}/{i}") for i in range(2))
    return first, second


def _to_first_step(cache: str, workdir: str) -> float:
    command = [sys.executable, "-c", FIRST_STEP, *TRAIN, f"--workdir={workdir}"]
    environment = {**os.environ, "LEPTON_JAX_CACHE": cache, "BEGAN": str(time.time())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(done.stdout)
