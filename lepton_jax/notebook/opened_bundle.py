"""A bundle, or a registered version, as a Python object."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from lepton_jax.errors import UserError
from lepton_jax.notebook.answers import Answers, answer_with
from lepton_jax.notebook.html import format_rows, format_title
from lepton_jax.notebook.split_results import SplitResults, name_results

if TYPE_CHECKING:
    import numpy as np
    from ml_collections import FrozenConfigDict

    from lepton_jax.serving.loader import Bundle


@dataclass(frozen=True, eq=False, repr=False)
class OpenedBundle:
    """An intact bundle. It answers; the module, the data and the curves are those of its run."""

    source: str
    """The folder, or the version in the registry."""
    bundle: "Bundle" = field(repr=False)
    """The loader's object: its `signature`, `folder` and `predict` of plain arrays."""

    @property
    def id(self) -> str:
        """The digest that names the bundle, 'sha256:...'."""
        return self.bundle.id

    @cached_property
    def config(self) -> "FrozenConfigDict":
        """The config of the run that it came from."""
        from ml_collections import FrozenConfigDict

        return FrozenConfigDict(self._lineage["config"])

    @cached_property
    def results(self) -> dict[str, Any]:
        """By split, what was measured of the run at the step that was exported."""
        from lepton_jax.serving.loader import read_object

        return name_results(read_object(self.bundle.folder, "metrics.json"))

    @property
    def weights(self) -> "dict[str, np.ndarray]":
        """Parameters and running statistics by name, `conv1.kernel`."""
        from safetensors.numpy import load

        from lepton_jax.serving.loader import read_file

        return load(read_file(self.bundle.folder, "weights.safetensors"))

    def predict(self, inputs: Any = None, *, examples: int = 0, kind: str = "") -> Answers:
        """Answers raw inputs, and the first `examples` that the bundle holds.

        Args:
          inputs: one or a list of arrays, Pillow images, files, texts or seeds; or a dict of the
            input fields, `[N, ...]` each.
          kind: your own kind of answer, 'my_pkg.module:Name'.

        Raises:
          UserError: when an input is not what the bundle takes.
        """
        return answer_with(self.bundle, self.source, inputs, examples, kind)

    @property
    def params(self) -> NoReturn:
        """Raises `UserError`: see `weights`."""
        self._lacks("parameters as a tree (`weights` has them by name)")

    @property
    def module(self) -> NoReturn:
        """Raises `UserError`: a bundle holds a compiled program."""
        self._lacks("Flax module: it holds a compiled program")

    @property
    def metrics(self) -> NoReturn:
        """Raises `UserError`: see `results`."""
        self._lacks("learning curves (`results` has what was measured at its step)")

    def evaluate(self, split: str = "test") -> NoReturn:
        """Raises `UserError`: `lepton_jax.verify` measures a bundle."""
        self._lacks(f"data of the split {split!r} (lepton_jax.verify measures a bundle again)")

    def _lacks(self, what: str) -> NoReturn:
        raise UserError(
            f"a bundle has no {what}; load the run that it came from, lepton_jax.load(workdir)"
        )

    @cached_property
    def _lineage(self) -> dict[str, Any]:
        from lepton_jax.serving.loader import read_object

        return read_object(self.bundle.folder, "lineage.json")

    def __repr__(self) -> str:
        test = self.results.get("test")
        measured = f"; test: {SplitResults(test)!r}" if test else ""
        return f"OpenedBundle({self.source!r}, {self.id[:19]}{measured})"

    def _repr_html_(self) -> str:
        inputs = (
            (k, f"{s['dtype']} {s['shape']}") for k, s in self.bundle.signature["inputs"].items()
        )
        facts = [("id", self.id), ("answer", self.bundle.answer), *inputs]
        facts += [
            (f"{split}/{name}", f"{value:.4g}")
            for split, results in self.results.items()
            for name, value in SplitResults(results).numbers.items()
        ]
        return format_title(self.source) + format_rows(facts)
