"""What a StableHLO program may do: compute on arrays, and call what JAX's own operations call.

StableHLO has an operation that calls a native function by its name, which JAX or an installed
library has registered in the process, and operations that talk to the host or to other devices. A
model's forward pass needs none of the second kind, and few of the first.
"""

import re

from .errors import BundleError

CUSTOM_CALLS = frozenset(
    {
        "shape_assertion",  # a batch size that is not fixed; the recipes' programs call this alone
        *("ApproxTopK", "stablehlo.dynamic_approx_top_k", "stablehlo.dynamic_top_k"),
        *("cu_threefry2x32_ffi", "stablehlo.dynamic_rng_bit_generator"),  # jax.random
        "stablehlo.dynamic_reduce_window",
        *("Eigh", "LuDecomposition", "ProductOfElementaryHouseholderReflectors", "Qr"),  # on TPU
        "cu_lu_pivots_to_permutation",
    }
)
"""The calls of JAX's own operations, of those that JAX promises to keep. Not among them is what
runs a kernel or a program that lies in the call itself: Mosaic's, Triton's, TensorFlow's."""

LINEAR_ALGEBRA = re.compile(r"(lapack_[sdcz]|cusolver_|cusparse_)[a-z0-9]+_ffi")
"""The names of jaxlib's calls of LAPACK, cuSOLVER and cuSPARSE, for `jax.numpy.linalg`."""

TALKING = ("infeed", "outfeed", "recv", "send")
"""Operations that wait for the host or another device, or hand something to it."""

_CALL = re.compile(r"\bstablehlo\.custom_call @([\w.]+)\(")
_ANY_CALL = re.compile(r"custom_call\b")
_TALK = re.compile(rf"\bstablehlo\.({'|'.join(TALKING)})\b")


def check_stablehlo(text: str, name: str) -> None:
    """Checks the text of a program, as MLIR prints it.

    Args:
      name: of the program, for messages.

    Raises:
      BundleError: when it calls a native function that no operation of JAX's own calls, or talks
        to the host.
    """
    called = _CALL.findall(text)
    strange = [c for c in called if c not in CUSTOM_CALLS and not LINEAR_ALGEBRA.fullmatch(c)]
    if not strange and len(called) != len(_ANY_CALL.findall(text)):
        strange = ["one of no plain name"]
    if strange:
        raise BundleError(
            f"{name} is refused: it calls the native function {strange[0]!r:.80}, which is none of "
            "those that JAX's own operations call"
        )
    if talks := _TALK.search(text):
        raise BundleError(
            f"{name} is refused: its operation {talks[1]!r} talks to the host or to another device"
        )
