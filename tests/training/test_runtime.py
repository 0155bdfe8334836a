"""The allocator, in processes of its own: it cannot be set back."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="there is something to tune in glibc only"
)

# Takes and frees the temporaries of a step, 3 x 40 MB, from a thread as XLA does; prints the page
# faults of a later step.
PROGRAM = """
import ctypes, resource, sys, threading
from lepton_jax.training.runtime import tune_allocator

print(tune_allocator() if "tune" in sys.argv else None)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, size = [ctypes.c_void_p], 40 << 20

def step():
    blocks = [libc.malloc(size) for _ in range(3)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks:
        libc.free(block)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

def main():
    step(), step(), faults()

thread = threading.Thread(target=main)
thread.start()
thread.join()
"""


def run(*args, **environment):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *args],
        env={"PATH": os.environ["PATH"], **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.split()


def test_later_steps_reuse_the_pages_of_the_first():
    _, untuned = run()
    tuned, faults = run("tune")
    assert tuned == "True"
    assert int(untuned) > 10_000, "otherwise there is nothing to tune here"
    assert int(faults) < 100


def test_what_the_environment_says_is_left_alone():
    assert run("tune", MALLOC_ARENA_MAX="4")[0] == "False"
