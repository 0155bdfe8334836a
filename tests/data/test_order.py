"""One endless sequence, the same everywhere."""

import hashlib
import pickle

import numpy as np
import pytest

from lepton_jax.data.order import Order, permutation
from lepton_jax.errors import UserError

pytestmark = pytest.mark.filterwarnings("error")

M64 = 2**64 - 1


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 of Salmon et al., 'Parallel random numbers: as easy as 1, 2, 3' (2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & M64, (k[1] + 0xBB67AE8584CAA73B) & M64]
    return c


def reference_permutation(examples: int, seed: int, epoch: int) -> list[int]:
    draws: list[int] = []
    while len(draws) < examples:
        draws += philox4x64([len(draws) // 4 + 1, 0, 0, 0], [seed, epoch])
    kept = 2 ** examples.bit_length()
    return sorted(range(examples), key=lambda i: (draws[i] // kept, i))


@pytest.mark.parametrize(("examples", "seed", "epoch"), [(1, 0, 0), (7, 3, 1), (1000, 2**40, 9)])
def test_permutation_is_what_the_paper_of_philox_gives(examples, seed, epoch):
    assert permutation(examples, seed, epoch).tolist() == reference_permutation(
        examples, seed, epoch
    )


def test_permutation_stays_the_same_for_ever():
    digest = hashlib.sha256(permutation(10_000, 1, 2).astype("<i8").tobytes()).hexdigest()
    assert digest.startswith("2b72ae5af22d8eab")


def test_permutation_ignores_and_keeps_numpys_global_state():
    np.random.seed(1)
    first = permutation(50, 0, 0)
    drawn = np.random.random()
    np.random.seed(1)
    assert np.random.random() == drawn
    np.random.seed(2)
    np.testing.assert_array_equal(permutation(50, 0, 0), first)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 64, 1000])
def test_batches_are_slices_of_one_sequence_with_nothing_dropped(batch_size):
    examples, epochs = 97, 40
    order = Order(examples, batch_size, seed=5)
    steps = -(-examples * epochs // batch_size)
    sequence = np.concatenate([order.indices(k) for k in range(steps)])
    assert sequence.dtype == np.int64
    by_epoch = sequence[: examples * epochs].reshape(epochs, examples)
    np.testing.assert_array_equal(np.sort(by_epoch), np.tile(np.arange(examples), (epochs, 1)))
    assert len({tuple(epoch) for epoch in by_epoch}) == epochs


def test_any_batch_can_be_had_at_any_time():
    whole = [Order(97, 10, seed=5).indices(k) for k in range(100)]
    order = Order(97, 10, seed=5)
    for k in (99, 0, 50, 3, 98):
        np.testing.assert_array_equal(order.indices(k), whole[k])
    far = Order(97, 10, seed=5).indices(10**12)
    assert len(far) == 10


def test_chunk_is_the_batches_stacked():
    order = Order(97, 10, seed=5)
    chunk = order.chunk(8, 25)
    assert chunk.dtype == np.int32
    np.testing.assert_array_equal(chunk, np.stack([order.indices(k) for k in range(8, 33)]))


def test_seeds_order_differently():
    assert not np.array_equal(Order(97, 97, 0).indices(0), Order(97, 97, 1).indices(0))


def test_pickled_order_goes_on_the_same():
    order = Order(97, 10, seed=5)
    order.indices(0)
    again = pickle.loads(pickle.dumps(order))
    np.testing.assert_array_equal(again.indices(31), order.indices(31))


@pytest.mark.parametrize(("examples", "batch_size"), [(0, 4), (2**31, 4), (4, 0)])
def test_impossible_sizes_are_refused(examples, batch_size):
    with pytest.raises(ValueError, match="cannot order"):
        Order(examples, batch_size, 0)


@pytest.mark.parametrize(("examples", "batch_size"), [(12, 4), (97, 10), (10, 10)])
def test_in_a_contiguous_order_every_row_goes_on_where_it_stopped(examples, batch_size):
    order = Order(examples, batch_size, seed=5, contiguous=True)
    walks = order.chunk(0, examples)
    np.testing.assert_array_equal(walks[0], np.arange(batch_size) * (examples // batch_size))
    np.testing.assert_array_equal(walks[1:], (walks[:-1] + 1) % examples)
    np.testing.assert_array_equal(order.indices(examples), walks[0])
    visits = [(i, e) for k in range(3 * examples) for i, e in zip(
        order.indices(k).tolist(), order.epochs(k).tolist(), strict=True
    )]  # fmt: skip
    assert len(set(visits)) == len(visits)  # what is drawn for an example differs by its epoch
    again = pickle.loads(pickle.dumps(order))
    np.testing.assert_array_equal(again.indices(31), order.indices(31))


def test_a_contiguous_order_needs_an_example_for_each_row():
    with pytest.raises(UserError, match=r"batch_size = 8.*got 7 examples"):
        Order(7, 8, seed=0, contiguous=True)
