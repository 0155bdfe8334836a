"""Images that a model generated, which a notebook draws."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class GeneratedImages:
    """Images uint8 `[N, H, W, C]`; NumPy takes the object as this array."""

    array: "np.ndarray"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "np.ndarray":
        return self.array.astype(dtype or self.array.dtype, copy=bool(copy))

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        count, *shape = self.array.shape
        return f"{count} images {self.array.dtype} {shape}"

    def _repr_png_(self) -> bytes:
        from lepton_jax.plots.grids import draw_image_grid

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "samples.png"
            draw_image_grid(self.array, path)
            return path.read_bytes()
