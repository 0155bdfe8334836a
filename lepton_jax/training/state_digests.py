"""The digests of a state's arrays: one SHA-256 each, of the array's type, shape and bytes.

They do not depend on the placement: an array that lies in parts on several processes is brought
together, one array at a time, and its digest is computed by one of the processes in turn. So no
host holds more than its share of a large state; each device needs room for its largest array once
more. The hashing itself happens in a thread, from copies on the host.
"""

import hashlib
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from lepton_jax.cluster.processes import Processes
from lepton_jax.trees import flatten_tree


def digest_array(x: np.ndarray) -> str:
    """Returns the SHA-256 of `float32 [3, 4]`, a newline and the bytes, in hex.

    The bytes are in the order of C, the least of a number first.
    """
    sha256 = hashlib.sha256(f"{x.dtype} {list(x.shape)}\n".encode())
    x = np.ascontiguousarray(x)
    x = x if sys.byteorder == "little" else x.byteswap()
    sha256.update(x.reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def digest_state(state: Any) -> dict[str, str]:
    """Returns the digest of each array of a state that lies on this process, by name."""
    return {name: digest_array(_on_host(x)) for name, x in flatten_tree(state).items()}


class StateDigests:
    """Computes the digests of states that several processes may share; each makes every call."""

    def __init__(self, processes: Processes):
        self._processes = processes
        self._thread = ThreadPoolExecutor(1, "digests")

    def start(self, state: Any) -> Callable[[], dict[str, str]]:
        """Starts on a state, whose buffers may be donated when this returns.

        Returns what waits for the digests and returns them, by name. All processes call it; the
        first gets the digests of all arrays.
        """
        mine: dict[str, np.ndarray] = {}
        apart = 0
        for name, leaf in flatten_tree(state).items():
            if _is_in_parts(leaf):
                whole = _bring_together(leaf)
                if apart % self._processes.count == self._processes.index:
                    mine[name] = whole
                apart += 1
            elif self._processes.first:
                mine[name] = _on_host(leaf)
        digests = self._thread.submit(_digest_all, mine)

        def finish() -> dict[str, str]:
            own = digests.result()
            if not apart:  # the first process has them all
                return own
            shares = self._processes.gather("digests of a state", own)
            return {name: digest for share in shares for name, digest in share.items()}

        return finish

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown()


def _digest_all(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {name: digest_array(x) for name, x in arrays.items()}


def _is_in_parts(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and not (
        leaf.is_fully_addressable or leaf.is_fully_replicated
    )


def _bring_together(leaf: jax.Array) -> np.ndarray:
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(_plain(leaf), tiled=True))


def _on_host(leaf: Any) -> np.ndarray:
    """Returns a copy: on CPU the array itself may be donated to the next step."""
    return np.array(_plain(leaf))


def _plain(leaf: Any) -> Any:
    """Returns the data of a random key in the place of the key."""
    is_key = isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf
