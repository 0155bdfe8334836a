"""A text is computed at its own length, and has the same answer alone and in a crowd."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lepton_jax.serving.batches.batcher import BatchRules
from lepton_jax.serving.live.served import ServedModel
from lepton_jax.serving.loader import load_bundle


@pytest.fixture(scope="module")
def served(tiny_bundle: Callable[[str], Path]) -> ServedModel:
    bundle = load_bundle(tiny_bundle("trec_cnn"), program="onnx")
    return ServedModel("trec", "1", bundle, BatchRules())


def make_texts(served: ServedModel, count: int) -> list[dict[str, np.ndarray]]:
    """Makes texts of one word to about as many as there are places."""
    draw, texts = random.Random(0), []
    words = ["what", "who", "is", "the", "of", "how", "many", "far", "city", "in", "name"]
    for _ in range(count):
        text = " ".join(draw.choices(words, k=draw.randint(1, 36)))
        texts.append({k: x[None] for k, x in served.bundle.encode(text)[0].items()})
    return texts


def test_bytes_are_equal_alone_and_in_a_mixed_crowd(served: ServedModel):
    texts = make_texts(served, 200)
    shapes: set[tuple[int, ...]] = set()
    compute = served._batcher._compute

    def watch(inputs):
        shapes.add(inputs["tokens"].shape)
        return compute(inputs)

    served._batcher._compute = watch

    async def ask() -> None:
        alone = [await served.answer(text) for text in texts]
        crowd = await asyncio.gather(*(served.answer(text) for text in texts))
        several = {k: np.concatenate([t[k] for t in texts]) for k in texts[0]}
        together = await served.answer(several)
        for i, (one, other) in enumerate(zip(alone, crowd, strict=True)):
            assert one.exact
            for name, y in one.outputs.items():
                assert y.tobytes() == other.outputs[name].tobytes()
                assert y.tobytes() == together.outputs[name][i : i + 1].tobytes()

    asyncio.run(ask())
    assert {length for _, length in shapes} == set(served.lengths)
    assert len(served.lengths) > 2
    assert {rows for rows, _ in shapes} <= set(served.sizes)
    assert len({rows for rows, _ in shapes}) > 1


def test_texts_of_a_program_whose_sizes_agree_at_no_length_are_not_cut(
    tiny_bundle: Callable[[str], Path],
):
    bundle = load_bundle(tiny_bundle("trec_cnn"), program="onnx")
    right, size = bundle.compute, bundle.lengths[-1]

    def compute(inputs):
        outputs, (rows, length) = right(inputs), inputs["tokens"].shape
        off = np.float32(0 if length == size else rows * 1e-6)
        return {**outputs, "probabilities": outputs["probabilities"] + off}

    bundle.compute = compute
    served = ServedModel("trec", "1", bundle, BatchRules())
    assert served.exact
    assert served.lengths == []
    assert len(served.sizes) > 1
