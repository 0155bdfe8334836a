"""The order of training: one endless sequence of examples, of which batch k is the k-th slice."""

import functools

import numpy as np

from lepton_jax.data.text.buckets import Buckets
from lepton_jax.errors import UserError


class Order:
    """Epoch after epoch, each a permutation of the examples; batches go across epoch borders.

    Epoch e depends on (seed, e) only. So any batch can be made at any time, without a state.

    `contiguous`: for consecutive examples, such as the chunks of a text. Each row of the batch
    walks through all examples in order, and then begins again. In each batch a row continues where
    it stopped in the batch before. The rows begin at equal distances. The seed has no effect.

    `buckets`: a batch holds texts of similar lengths, and other texts in every epoch. The length of
    step k depends on k alone, not on the seed, so that packed trials share programs. A batch that
    goes across two epochs gets the longest texts.
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        seed: int,
        *,
        contiguous: bool = False,
        buckets: Buckets | None = None,
    ):
        if not 0 < examples < 2**31 or batch_size < 1:
            raise ValueError(f"cannot order {examples} examples in batches of {batch_size}")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.contiguous = contiguous
        self.buckets = buckets
        if contiguous and batch_size > examples:
            raise UserError(
                f"batch_size = {batch_size}: data.order = 'contiguous' needs at least one example "
                f"for each row of the batch, got {examples} examples"
            )
        if contiguous and buckets:
            raise UserError(
                "data.order = 'contiguous' keeps the order of a text, but data.buckets does not"
            )
        # A batch touches two epochs when it crosses a border.
        self._epoch = functools.lru_cache(maxsize=2)(self._arranged)

    def indices(self, step: int) -> np.ndarray:
        """Returns the examples of one step's batch, int64 [B]."""
        return self._slice(step * self.batch_size, (step + 1) * self.batch_size)

    def epochs(self, step: int) -> np.ndarray:
        """Returns the epoch of each example of one step's batch, int64 [B], counted from 0."""
        if self.contiguous:
            # From one row's visit of an example to the next row's it grows by one.
            return np.full(self.batch_size, step // (self.examples // self.batch_size))
        first = step * self.batch_size
        return np.arange(first, first + self.batch_size) // self.examples

    def length(self, step: int) -> int | None:
        """Returns the length that texts of one step's batch are cut to; None without buckets."""
        return None if self.buckets is None else self.buckets.length(self.indices(step))

    def chunk(self, start: int, steps: int) -> np.ndarray:
        """Returns the examples of `steps` batches from step `start` on, int32 [steps, B]."""
        flat = self._slice(start * self.batch_size, (start + steps) * self.batch_size)
        return flat.astype(np.int32).reshape(steps, self.batch_size)

    def __reduce__(self) -> tuple:
        order = functools.partial(Order, contiguous=self.contiguous, buckets=self.buckets)
        return order, (self.examples, self.batch_size, self.seed)

    def _slice(self, start: int, stop: int) -> np.ndarray:
        if self.contiguous:
            step, row = np.divmod(np.arange(start, stop), self.batch_size)
            return (row * (self.examples // self.batch_size) + step) % self.examples
        parts = [np.empty(0, np.int64)]
        while start < stop:
            epoch, offset = divmod(start, self.examples)
            part = self._epoch(epoch)[offset : offset + stop - start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)

    def _arranged(self, epoch: int) -> np.ndarray:
        """Returns the examples of an epoch in their order, int64 [N]."""
        index_N = permutation(self.examples, self.seed, epoch)
        if self.buckets is None:
            return index_N
        before = -epoch * self.examples % self.batch_size  # in the batch that began an epoch ago
        batches = max(0, self.examples - before) // self.batch_size
        index_N = index_N[np.argsort(self.buckets.of[index_N], kind="stable")]
        within, across = np.split(index_N, [batches * self.batch_size])
        if batches:
            within = within.reshape(batches, -1)[permutation(batches, 0, epoch)].ravel()
        return np.concatenate([across[:before], within, across[before:]])


def permutation(examples: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of one epoch's examples, int64 [N], as a function of the arguments alone.

    NumPy promises the raw bits of Philox for all time, but not the result of
    `Generator.permutation`. So every example draws a number, and the examples are sorted by their
    numbers. The example's index replaces the low bits of its number: so the numbers are distinct,
    every sorting algorithm gives the same order, and no argsort is needed.
    """
    low = np.uint64(examples.bit_length())
    key = np.array([seed, epoch], np.uint64)
    drawn = np.random.Philox(key=key).random_raw(examples) >> low << low
    keys = np.sort(drawn | np.arange(examples, dtype=np.uint64))
    return (keys & ((np.uint64(1) << low) - np.uint64(1))).astype(np.int64)
