"""Batches: which sizes answer alike, and what is computed together, refused and given up."""

import asyncio
import threading
import time

import numpy as np
import pytest

from lepton_jax.serving.batches.batcher import Batcher, BatchRules, QueueFull, TooLate
from lepton_jax.serving.batches.sizes import find_exact_sizes
from lepton_jax.serving.errors import BundleError

ROWS = {"x": np.arange(5, dtype=np.float32)}


def test_sizes_that_give_other_bytes_are_left_out():
    def compute(inputs):  # one row alone is added up otherwise, and 32 as well
        off = {1: 1e-7, 32: 2e-7}.get(len(inputs["x"]), 0.0)
        return {"y": (inputs["x"] * np.float32(1 + off)).astype(np.float32)}

    assert find_exact_sizes(compute, ROWS) == [2, 4, 8, 16]
    assert find_exact_sizes(lambda i: {"y": i["x"]}, ROWS) == [1, 2, 4, 8, 16, 32]


def test_a_row_that_depends_on_its_place_or_its_company_agrees_with_nothing():
    def by_place(inputs):
        return {"y": inputs["x"] + np.arange(len(inputs["x"]), dtype=np.float32) % 2}

    def by_company(inputs):
        return {"y": inputs["x"] + inputs["x"].sum()}

    assert find_exact_sizes(by_place, ROWS) == [1] or len(find_exact_sizes(by_place, ROWS)) == 1
    assert len(find_exact_sizes(by_company, ROWS)) == 1


class Program:
    """Doubles its inputs, as slowly as it is told, and remembers the batches."""

    def __init__(self):
        self.batches = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, inputs):
        self.may_go.wait(10)
        self.batches.append(len(inputs["x"]))
        if (inputs["x"] == -1).any():
            raise RuntimeError("minus one")
        return {"y": inputs["x"] * 2}


def soon():
    return time.monotonic() + 10


async def ask(batcher, *values, deadline=None):
    answered = await batcher.answer({"x": np.array(values, np.float32)}, deadline or soon())
    return answered["y"].tolist()


async def hold(program, batcher):
    """Begins a batch that takes until the program may go."""
    program.may_go.clear()
    first = asyncio.create_task(ask(batcher, 0))
    await asyncio.sleep(0.05)
    return first


def test_what_waits_is_computed_together_and_padded():
    async def run():
        program = Program()
        batcher = Batcher(program, [2, 4, 8], BatchRules())
        first = await hold(program, batcher)
        others = [asyncio.create_task(ask(batcher, i, i + 0.5)) for i in range(1, 4)]
        await asyncio.sleep(0.05)
        assert batcher.queued == 6
        program.may_go.set()
        assert await first == [0]
        assert [await o for o in others] == [[2 * i, 2 * i + 1] for i in range(1, 4)]
        assert program.batches == [2, 8]
        assert batcher.queued == 0

    asyncio.run(run())


def test_one_alone_does_not_wait():
    async def run():
        batcher = Batcher(Program(), [1, 32], BatchRules())
        await ask(batcher, 1)
        start = time.perf_counter()
        for _ in range(20):
            await ask(batcher, 1)
        return (time.perf_counter() - start) / 20

    assert asyncio.run(run()) < 0.02


def test_a_wait_that_is_asked_for_fills_the_batch():
    async def run():
        program = Program()
        batcher = Batcher(program, [1, 8], BatchRules(max_wait=0.2))
        first = asyncio.create_task(ask(batcher, 1))
        await asyncio.sleep(0.05)
        assert await ask(batcher, 2) == [4]
        assert await first == [2]
        assert program.batches == [8]

    asyncio.run(run())


def test_what_is_of_one_shape_is_computed_together_in_its_order():
    def group(inputs):
        long = inputs["x"] >= 10
        return [(np.flatnonzero(x), {"x": inputs["x"][x][:, None].repeat(1 + n, 1)})
                for n, x in enumerate((~long, long)) if x.any()]  # fmt: skip

    async def run():
        program = Program()
        batcher = Batcher(
            lambda i: {"y": program(i)["y"][:, 0]}, [1, 2, 4], BatchRules(), group=group
        )
        first = await hold(program, batcher)
        asked = [(1, 10), (11,), (2, 3), (12, 4), (13,)]
        waiting = [asyncio.create_task(ask(batcher, *values)) for values in asked]
        await asyncio.sleep(0.05)
        assert batcher.queued == 8
        program.may_go.set()
        assert await first == [0]
        assert [await w for w in waiting] == [[2 * v for v in values] for values in asked]
        assert program.batches == [1, 4, 4]

    asyncio.run(run())


def test_more_rows_than_a_batch_holds_are_split():
    async def run():
        program = Program()
        values = list(range(21))
        assert await ask(Batcher(program, [2, 8], BatchRules()), *values) == [2 * v for v in values]
        assert program.batches == [8, 8, 8]

    asyncio.run(run())


def test_a_full_queue_takes_no_more():
    async def run():
        program = Program()
        batcher = Batcher(program, [1, 8], BatchRules(most_queued=4))
        first = await hold(program, batcher)
        waiting = [asyncio.create_task(ask(batcher, i)) for i in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull):
            await ask(batcher, 9)
        program.may_go.set()
        assert await first == [0]
        assert [await w for w in waiting] == [[0], [2], [4], [6]]
        assert await ask(batcher, 9) == [18]
        assert await ask(batcher, *range(20)) == [2 * v for v in range(20)]  # alone it may

    asyncio.run(run())


def test_what_is_too_late_or_given_up_is_not_computed():
    async def run():
        program = Program()
        batcher = Batcher(program, [1, 2, 4], BatchRules())
        first = await hold(program, batcher)
        late = asyncio.create_task(ask(batcher, 1, deadline=time.monotonic() + 0.1))
        left = asyncio.create_task(ask(batcher, 2))
        await asyncio.sleep(0.05)
        left.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert batcher.queued == 1  # its row is dropped at once
        with pytest.raises(TooLate):
            await late
        kept = asyncio.create_task(ask(batcher, 3))
        await asyncio.sleep(0.05)
        program.may_go.set()
        assert await first == [0]
        assert await kept == [6]
        assert program.batches == [1, 1]
        assert batcher.queued == 0

    asyncio.run(run())


def test_a_program_that_fails_fails_its_batch_alone():
    async def run():
        batcher = Batcher(Program(), [1, 2], BatchRules())
        with pytest.raises(BundleError, match="minus one"):
            await ask(batcher, -1)
        assert await ask(batcher, 4) == [8]

    asyncio.run(run())


def test_what_waits_is_answered_before_it_closes():
    async def run():
        program = Program()
        batcher = Batcher(program, [1], BatchRules())
        first = await hold(program, batcher)
        second = asyncio.create_task(ask(batcher, 5))
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0.05)
        assert not closing.done()
        program.may_go.set()
        await closing
        assert (await first, await second) == ([0], [10])
        assert await ask(batcher, 6) == [12]  # whoever still holds it is answered

    asyncio.run(run())
