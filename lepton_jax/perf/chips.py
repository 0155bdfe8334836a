"""The published numbers of accelerators, one chip (one JAX device) each.

FLOP/s are of dense matrix multiplication. Under JAX's default precision float32 operands are
multiplied as bfloat16 on a TPU's matrix units and as TF32 on these GPUs, hence `float32`.
Bandwidths are bytes a second in ONE direction; published two-way sums are halved.
"""

from dataclasses import dataclass

GB, GIB = 1e9, float(1 << 30)


@dataclass(frozen=True)
class Chip:
    """An accelerator. `link`: of one link to a neighbour (TPU) or of all links (GPU)."""

    name: str
    bfloat16: float
    """FLOP/s."""
    float32: float
    hbm: float
    """Bytes that a program may use."""
    hbm_bandwidth: float
    link: float
    dcn: float | None
    """The data centre's network, a chip's share of its host's; None: not published."""
    wraps: int = 0
    """A TPU slice's axis closes to a ring when it is a multiple of this; 0: no TPU."""
    node: int = 0
    """GPUs that NVLink joins; 0: no GPU."""


# cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}: 'peak compute per chip', 'HBM bandwidth per chip',
# 'bidirectional ICI bandwidth per chip' (over 4 ports in 2-D and 6 in 3-D tori), 'data center
# network bandwidth' per pod or chip. v4's 6 x 50 GB/s: Jouppi et al. 2023, arXiv:2304.01433.
# Memory: what libtpu's compiler grants a program ('available HBM').
# Rings: v5e and v6e axes close at 16; v4 and v5p axes close in cubes of 4.
TPUS = (
    Chip("v4", 275e12, 275e12, 30.75 * GIB, 1200 * GB, 50 * GB, None, wraps=4),
    Chip("v5e", 197e12, 197e12, 15.75 * GIB, 819 * GB, 50 * GB, 3.125 * GB, wraps=16),
    Chip("v5p", 459e12, 459e12, 95.74 * GIB, 2765 * GB, 100 * GB, 6.25 * GB, wraps=4),
    Chip("v6e", 918e12, 918e12, 31.25 * GIB, 1638 * GB, 100 * GB, 12.5 * GB, wraps=16),
)
# Data sheets of A100 80 GB SXM, H100 SXM and H200 SXM (dense; TF32 for float32); network: DGX A100
# has 8 x 200 Gb/s, DGX H100 and H200 8 x 400 Gb/s for 8 GPUs. Memory: three quarters of
# the card's, which is what JAX takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
GPUS = (
    Chip("a100", 312e12, 156e12, 0.75 * 85100068864, 2039 * GB, 300 * GB, 25 * GB, node=8),
    Chip("h100", 989e12, 495e12, 0.75 * 84942979072, 3352 * GB, 450 * GB, 50 * GB, node=8),
    Chip("h200", 989e12, 495e12, 0.75 * 151397597184, 4800 * GB, 450 * GB, 50 * GB, node=8),
)
CHIPS = {chip.name: chip for chip in (*TPUS, *GPUS)}
KINDS = {
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5": "v5p",
    "TPU v6 lite": "v6e",
    "NVIDIA A100": "a100",
    "NVIDIA H100": "h100",
    "NVIDIA H200": "h200",
}
"""How JAX's `device_kind` begins."""


def find_chip(device_kind: str) -> Chip | None:
    """Finds the chip that JAX calls so; None for a device that is not listed, such as a CPU."""
    kinds = [kind for kind in KINDS if device_kind.startswith(kind)]
    return CHIPS[KINDS[max(kinds, key=len)]] if kinds else None
