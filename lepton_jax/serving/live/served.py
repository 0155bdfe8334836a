"""One version of a model, loaded and ready to answer."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..batches.batcher import Batcher, BatchRules
from ..batches.sizes import SIZES, Arrays, find_exact_sizes
from ..completions.slots import Slots
from ..completions.writer import TextWriter
from ..errors import BundleError, InputError
from ..loader import Bundle

_TRIED = 2
"""Examples of a bundle by which the sizes of its batches are found."""


@dataclass(frozen=True)
class ServedAnswer:
    """The outputs for the rows of one request, [B, ...] each."""

    outputs: dict[str, np.ndarray]
    exact: bool
    """Whether the bytes are those of any other time and company on this machine."""


class ServedModel:
    """One version of a model, that answers.

    `exact` says whether its answers do not depend on who else asks; `sizes` are the batch sizes
    that it computes; `lengths` those to which it cuts texts, [] where it cuts none. `writer` goes
    on with texts; None of a model that does not.
    """

    def __init__(
        self,
        name: str,
        version: str,
        bundle: Bundle,
        rules: BatchRules,
        computed: Callable[["ServedModel", int, float], None] = lambda served, rows, seconds: None,
    ):
        """Warms up every batch size. Called in a thread, as that may take seconds.

        Raises:
          BundleError: when the bundle does not answer its own examples.
        """
        self.name = name
        self.version = version
        self.bundle = bundle
        rows = {k: x[:_TRIED] for k, x in bundle.examples()["inputs"].items()}
        agreed = find_exact_sizes(bundle.compute, rows, bundle.exact_sizes or SIZES)
        self.exact = len(agreed) > 1
        self.sizes, self.lengths = self._try_lengths(rows, agreed if self.exact else list(SIZES))

        def note(rows: int, seconds: float) -> None:
            computed(self, rows, seconds)

        self.writer = TextWriter(Slots(bundle.cached), note) if bundle.has_cached else None
        _warm_up_decoding(bundle)
        group = bundle.group_by_length if self.lengths else None
        self._batcher = Batcher(bundle.compute, self.sizes, rules, note, group)

    @property
    def queued(self) -> int:
        """How many rows wait to be computed."""
        return self._batcher.queued

    async def answer(
        self, inputs: Mapping[str, np.ndarray], deadline: float | None = None
    ) -> ServedAnswer:
        """Answers to a batch of every input of the signature, [B, ...] each.

        Args:
          deadline: of `time.monotonic()`; a minute from now by default.

        Raises:
          InputError: when they are not what the signature declares.
          QueueFull, TooLate: when too much is asked, or it took too long.
          BundleError: when the program cannot answer.
        """
        self.bundle.check(inputs)
        outputs = dict(await self._batcher.answer(inputs, deadline or time.monotonic() + 60))
        self._check_numbers(outputs)
        return ServedAnswer(outputs, self.exact)

    async def close(self) -> None:
        """Answers what waits, then ends."""
        await self._batcher.close()
        if self.writer is not None:
            await self.writer.close()

    def _try_lengths(self, rows: Arrays, sizes: list[int]) -> tuple[list[int], list[int]]:
        """Computes texts at each length to which they can be cut.

        Returns the sizes of `sizes` whose answers have equal bytes at every length, and the
        lengths. Where no two sizes are left, texts are not cut: all sizes, and no length.
        """
        agreed = sizes
        for length in self.bundle.lengths[:-1]:
            begun = self.bundle.begin_texts(rows, length)
            found = find_exact_sizes(self.bundle.compute, begun, agreed)
            agreed = found if self.exact else agreed
        if self.exact and len(agreed) < 2:
            return sizes, []
        return agreed, self.bundle.lengths

    def _check_numbers(self, outputs: Arrays) -> None:
        if self.bundle.answer == "class" and np.isnan(outputs["probabilities"]).any():
            raise BundleError("the answer is NaN, and no class")  # its `label` would be 0


def _warm_up_decoding(bundle: Bundle) -> None:
    """Imports what decodes images or texts, so that the first request need not wait for it."""
    with suppress(InputError):
        if bundle.signature.get("decoding"):
            bundle.decode(b"")
        if bundle.takes_text:
            bundle.encode("")
