"""A run's model that answers raw inputs as its bundle would, without being exported."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lepton_jax.export.exportable import prepare_export
from lepton_jax.export.raw_inputs import describe_inputs
from lepton_jax.serving.loader import Bundle
from lepton_jax.serving.programs import Answer
from lepton_jax.serving.texts import TextEncoder
from lepton_jax.training.runtime import runtime
from lepton_jax.training.saved import SavedRun

MOST_EXAMPLES = 1_000
"""Held-out examples that are at hand."""


class TrainedModel(Bundle):
    """Reads files, images and texts by the code that reads them for a bundle; computes with the
    weights of a checkpoint.
    """

    def __init__(self, saved: SavedRun):
        """Compiles nothing: that is done when the first input of a size is given."""
        self.folder, self.id = Path(saved.workdir), f"step {saved.step}"
        self.signature = describe_inputs(prepare_export(saved))
        self.answer, self.labels = self.signature["answer"], self.signature["labels"]
        self._inputs = self.signature["inputs"]
        self.program, self._program = "", {}  # it has none: its parts are overridden below
        self._saved = saved
        self._variables = saved.program.training.variables(saved.state)
        self._predict = jax.jit(saved.program.inference.predict)

    def examples(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns the first examples of 'test' (else 'valid', else 'train') as a bundle does, but
        without answers: `{'inputs': {...}, 'truth': {...}}`, each of fields `[E, ...]`.
        """
        if self._inputs.keys() == {"seed"}:
            seeds = np.arange(MOST_EXAMPLES, dtype=np.uint32)
            return {"inputs": {"seed": seeds}, "truth": {}}
        splits = self._saved.data.splits
        split = splits[next(s for s in ("test", "valid", "train") if s in splits)]
        rows = split.rows(np.arange(min(MOST_EXAMPLES, len(split))))
        inputs = {name: rows[name] for name in self._inputs}
        few = {name: x[:1] for name, x in inputs.items()}
        with runtime(self._saved.config.precision):
            outputs = jax.eval_shape(self._predict, *self._variables, few)
        return {"inputs": inputs, "truth": {k: x for k, x in rows.items() if k in outputs}}

    @cached_property
    def _forward(self) -> Answer:
        def forward(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
            with runtime(self._saved.config.precision):
                return dict(self._predict(*self._variables, dict(inputs)))

        return forward

    @cached_property
    def _texts(self) -> TextEncoder:
        texts = self._saved.data.texts
        assert texts is not None
        return TextEncoder(texts.tokenizer.text, self.signature["text"], self.id)
