"""Many texts at once are the texts that each is alone."""

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.serving.batches.batcher import QueueFull, TooLate
from lepton_jax.serving.completions.drawing import DrawingRule
from lepton_jax.serving.completions.pieces import TextPieces
from lepton_jax.serving.completions.slots import Slots
from lepton_jax.serving.completions.writer import TextWriter
from lepton_jax.serving.completions.writing import TokenNews, WrittenText
from lepton_jax.serving.errors import BundleError
from lepton_jax.serving.loader import Bundle, load_bundle

PROMPTS = ["bado k", "ba", "k", "do do", "bad", "o", "badok ba", "da"]


@pytest.fixture(scope="module")
def bundle(tiny_bundle) -> Bundle:
    return load_bundle(tiny_bundle("shakespeare_gpt"), program="onnx")


@pytest.fixture(scope="module")
def slots(bundle) -> Slots:
    return Slots(bundle.cached, most=4)


@pytest.fixture
def writer(slots) -> TextWriter:
    writer = TextWriter(slots, most_waiting=20)
    yield writer
    asyncio.run(writer.close())


class Reader:
    """Waits for a text."""

    def __init__(self) -> None:
        self.news: list[TokenNews] = []
        self._ended = threading.Event()

    def tell(self, news: TokenNews) -> None:
        self.news.append(news)
        if news.finish or news.error:
            self._ended.set()

    def text(self) -> str:
        assert self._ended.wait(60)
        if self.news[-1].error:
            raise self.news[-1].error
        return "".join(news.text for news in self.news)


def make(
    bundle: Bundle,
    prompt: str,
    most: int = 40,
    temperature: float = 0.8,
    seed: int = 0,
    deadline: float = float("inf"),
) -> tuple[WrittenText, Reader]:
    tokens, reader = bundle.prompt(prompt), Reader()
    rule = DrawingRule(temperature=temperature, seed=seed)
    pieces = TextPieces(bundle.text, tokens)
    text = WrittenText(tokens, rule, most, None, pieces, reader.tell, deadline=deadline)
    return text, reader


def write(bundle: Bundle, writer: TextWriter, prompts: Sequence[str], **how: float) -> list[str]:
    made = [make(bundle, prompt, seed=i, **how) for i, prompt in enumerate(prompts)]
    writer.write(*(text for text, _ in made))
    return [reader.text() for _, reader in made]


def check_company(bundle: Bundle, writer: TextWriter) -> None:
    """Texts of other lengths, which join and leave at other times, change no text."""
    alone = {}
    for i, prompt in enumerate(PROMPTS):
        text, reader = make(bundle, prompt, most=10 + 7 * i, seed=i)
        writer.write(text)
        alone[i] = reader.text()
    assert len(set(alone.values())) == len(alone)
    together = []
    for i in (7, 2, 5, 0, 1, 6, 3, 4):
        text, reader = make(bundle, PROMPTS[i], most=10 + 7 * i, seed=i)
        writer.write(text)
        together.append((i, reader))
        time.sleep(0.002 * (i % 3))
    assert {i: reader.text() for i, reader in together} == alone


def test_a_text_is_the_same_whatever_is_written_beside_it(bundle, writer):
    check_company(bundle, writer)


@pytest.mark.slow
def test_a_text_is_the_same_whatever_is_written_beside_it_by_jax(tiny_bundle):
    bundle = load_bundle(tiny_bundle("shakespeare_gpt"), program="stablehlo")
    writer = TextWriter(Slots(bundle.cached))
    check_company(bundle, writer)
    asyncio.run(writer.close())


def test_the_likeliest_text_is_what_generate_writes_beyond_the_context_too(bundle, writer, slots):
    assert slots.context is not None
    count = 2 * slots.context + 3
    texts = write(bundle, writer, PROMPTS[:2], most=count, temperature=0)
    for prompt, text in zip(PROMPTS, texts, strict=False):
        said = api.generate(bundle=str(bundle.folder), prompt=prompt, tokens=count, temperature=0.0)
        assert prompt + text == said.text


def test_a_long_prompt_is_read_from_the_part_that_the_model_looks_back_on(bundle, writer):
    prompt = "bado kuno " * 10
    (text,) = write(bundle, writer, [prompt], most=5, temperature=0)
    said = api.generate(bundle=str(bundle.folder), prompt=prompt, tokens=5, temperature=0.0)
    assert prompt + text == said.text


def test_a_text_that_nobody_wants_any_more_gives_its_slot_back(bundle, writer, slots):
    left = [make(bundle, "ba", most=100_000) for _ in range(4)]
    writer.write(*(text for text, _ in left))
    waiting, reader = make(bundle, "bad", most=3)
    writer.write(waiting)
    assert slots.writing <= 4
    for text, _ in left:
        text.done = True
    assert len(reader.text()) >= 1
    counts = [len(reader.news) for _, reader in left]
    assert max(counts) < 100_000


def test_too_many_texts_are_refused_and_what_comes_too_late_is_told(bundle, writer):
    busy = [make(bundle, "ba", most=100_000) for _ in range(4)]
    writer.write(*(text for text, _ in busy))
    while writer.slots.writing < 4:
        time.sleep(0.001)
    late, reader = make(bundle, "ba", deadline=time.monotonic() + 0.05)
    writer.write(late, *(make(bundle, "ba", most=1)[0] for _ in range(19)))
    with pytest.raises(QueueFull):
        writer.write(make(bundle, "ba")[0])
    with pytest.raises(TooLate):
        reader.text()
    for text, _ in busy:
        text.done = True


def test_after_an_error_of_the_program_everybody_is_told_and_the_next_text_is_written(tiny_bundle):
    bundle = load_bundle(tiny_bundle("shakespeare_gpt"), program="onnx")
    writer = TextWriter(Slots(bundle.cached, most=2))
    step = bundle.cached._step
    before = write(bundle, writer, ["ba"], most=5)

    def fail(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise BundleError("no memory left")

    bundle.cached._step = fail
    made = [make(bundle, "ba") for _ in range(3)]
    writer.write(*(text for text, _ in made))
    for _, reader in made:
        with pytest.raises(BundleError, match="no memory left"):
            reader.text()
    bundle.cached._step = step
    assert write(bundle, writer, ["ba"], most=5) == before
    asyncio.run(writer.close())
