"""Which inputs are explained, and what of each can be taken away."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.console import format_command
from lepton_jax.errors import UserError
from lepton_jax.explanation.parts import InputParts
from lepton_jax.prediction.inputs import RawInput, gather_inputs
from lepton_jax.serving.loader import Bundle
from lepton_jax.training.saved import SavedRun

# N inputs, R references, P parts, T tokens.

KNOWN = 256
"""Training examples whose mean stands for nothing."""
REFERENCES = 64
"""Of them, those that expected gradients start from."""
UNKNOWN = "[unknown]"
"""How a word is shown that the vocabulary lacks."""


def choose_inputs(
    bundle: Bundle, saved: SavedRun | None, inputs: Sequence[Any], examples: int, worst: int
) -> list[RawInput]:
    """Reads a bundle's or a run's first `examples`, then `inputs`, then the `worst` examples.

    Raises:
      UserError: when an input cannot be read, or it is not known which examples are the worst.
    """
    raw = gather_inputs(bundle, inputs, examples) if inputs or examples else []
    return [*raw, *(_worst_examples(bundle, saved, worst) if worst else [])]


def known_inputs(bundle: Bundle, saved: SavedRun | None) -> dict[str, np.ndarray]:
    """Returns inputs of training examples, `[R, ...]` each; of a bundle those of its own examples.

    Raises:
      UserError: when the model reads no input.
    """
    names = bundle.signature["inputs"]
    if names.keys() == {"seed"}:
        raise UserError("this model generates from seeds; explain takes one that reads an input")
    if saved is None:
        return {name: x[:KNOWN] for name, x in bundle.examples()["inputs"].items()}
    train = saved.data.splits["train"]
    index = np.linspace(0, len(train) - 1, min(KNOWN, len(train))).astype(np.int64)
    rows = train.rows(index)
    return {name: rows[name] for name in names}


def choose_references(
    bundle: Bundle, parts: InputParts, known: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns what expected gradients start from: some of the inputs that are known, or texts
    `[R, T]` whose tokens are drawn from those of all that are.
    """
    count = len(known[parts.field])
    index = np.unique(np.linspace(0, count - 1, min(REFERENCES, count)).astype(np.int64))
    chosen = {name: x[index] for name, x in known.items()}
    if not parts.of_text:
        return chosen
    _, present = find_present(bundle, parts, known)
    tokens = known[parts.field]
    drawn = np.random.default_rng(0).choice(tokens[present], chosen[parts.field].shape)
    return {**chosen, parts.field: drawn.astype(tokens.dtype)}


def find_present(
    bundle: Bundle, parts: InputParts, fields: Mapping[str, np.ndarray]
) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
    """Returns the tokens of each text, () of others, and the parts that each input has, bool
    `[N, P]`: in a text the tokens that have a text of their own, not padding and not [CLS].
    """
    x = fields[parts.field]
    if not parts.of_text:
        return (), np.ones((len(x), parts.count), bool)
    how = bundle.signature["text"]["inputs"]
    lengths = fields[how["length"]] if "length" in how else np.full(len(x), x.shape[1])
    texts = {int(token): bundle.text([token]) for token in np.unique(x)}
    has_text = np.isin(x, [token for token, text in texts.items() if text.strip()])
    has_text &= x != parts.fill  # to take an unknown word away changes nothing
    texts |= {int(parts.fill): UNKNOWN}
    words = tuple(
        tuple(texts[int(token)] for token in row[:length])
        for row, length in zip(x, lengths, strict=True)
    )
    return words, has_text & (np.arange(x.shape[1]) < lengths[:, None])


def _worst_examples(bundle: Bundle, saved: SavedRun | None, count: int) -> list[RawInput]:
    """Returns the examples of `test` that the run's last evaluation was most wrong about."""
    if saved is None:
        raise UserError(
            "--worst: a bundle keeps no list of what it is most wrong about; give --workdir=DIR, "
            "its run, or --examples=8"
        )
    listed = saved.record.results().get("test", {}).get("worst", ())[:count]
    if not listed:
        raise UserError(
            f"--worst: the record of {saved.workdir} has no list of the worst examples of 'test'; "
            f"first: {format_command('evaluate', workdir=saved.workdir)}"
        )
    index = np.asarray([e["example"] for e in listed], np.int64)
    rows = saved.data.splits["test"].rows(index)
    return [
        RawInput(
            f"test {n}",
            {name: rows[name][i] for name in bundle.signature["inputs"]},
            {"label": rows["label"][i]} if "label" in rows else {},
        )
        for i, n in enumerate(index)
    ]
