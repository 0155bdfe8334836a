"""The one loader of bundles: checks a bundle, decodes raw input, answers.

The folder of this file is a package that stands alone, under any name: bundles are verified by it
where the rest of lepton_jax does not exist. It needs the standard library and numpy; jax,
safetensors and Pillow where a StableHLO program is loaded, onnxruntime alone where an ONNX program
is, tokenizers where a text is given or shown. Nothing in a bundle is imported, evaluated or
unpickled.

Whoever uses bundles imports this module: it has the names of the other files too.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .cached import CachedPrograms, cached_rows, has_cached
from .errors import UNREADABLE, BundleError, InputError
from .files import (
    ATTESTED,
    FORMAT_VERSION,
    MANIFEST,
    MAX_DEPTH,
    MAX_FILES,
    MAX_JSON,
    NOT_LISTED,
    ONNX,
    SIGNED,
    UNLISTED,
    VERDICT,
    WEIGHTS,
    bundle_id,
    find_faults,
    manifest_bytes,
    open_inside,
    parse_json,
    read_file,
    read_json,
    read_object,
)  # fmt: skip
from .images import decode_image
from .lengths import Groups, begin_texts, group_by_length, list_lengths
from .programs import Answer, open_onnx, open_program, read_arrays
from .signature import describe_field, find_program, read_signature
from .texts import TextEncoder, read_encoder

__all__ = [
    "ATTESTED",
    "FORMAT_VERSION", "MANIFEST", "MAX_DEPTH", "MAX_FILES", "MAX_JSON", "NOT_LISTED", "ONNX",
    "SIGNED", "UNLISTED", "VERDICT", "WEIGHTS", "Bundle", "BundleError", "InputError", "bundle_id",
    "find_default_program", "find_faults", "load_bundle", "manifest_bytes", "open_inside",
    "open_onnx", "parse_json", "read_file", "read_json", "read_object",
    "read_verdict",
]  # fmt: skip

MAX_BATCH = 64
"""Larger batches are split, smaller ones padded to a power of two: few shapes to compile."""


def load_bundle(
    folder: str | os.PathLike[str], expected_id: str | None = None, program: str = "stablehlo"
) -> "Bundle":
    """Loads a bundle, ready to answer; every file is checked against the manifest first.

    Args:
      expected_id: the id that the bundle must have, where it is known, e.g. from a registry.
      program: 'stablehlo' or 'onnx', which needs onnxruntime and no jax; of a variant with its
        name before, 'int8/onnx'.

    Raises:
      BundleError: when a file is missing, extra or changed, or it is another bundle, or it has no
        such program.
    """
    faults, identity = find_faults(folder), bundle_id(folder)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise BundleError(f"the bundle in {folder} is damaged: {faults[0]}{more}")
    if expected_id is not None and identity != expected_id:
        raise BundleError(f"{folder} holds {identity}, expected {expected_id}")
    return Bundle(Path(folder), identity, program)


def find_default_program(folder: str | os.PathLike[str]) -> str:
    """Returns the program of a bundle that answers where none is asked for.

    'onnx', unless the bundle has none, its verdict found 'stablehlo' to be faster on a CPU,
    onnxruntime is not installed, or there is an accelerator. Only jax could say what devices there
    are, and it takes a second to import.
    """
    try:
        onnx = "path" in read_object(folder, "signature.json")["programs"]["onnx"]
    except (BundleError, *UNREADABLE):
        onnx = False
    accelerated = glob("/dev/nvidia[0-9]*") or glob("/dev/accel*")
    if not onnx or accelerated or find_spec("onnxruntime") is None:
        return "stablehlo"
    slower = read_verdict(folder).get("default_program_on_cpu") == "stablehlo"
    return "stablehlo" if slower and find_spec("jax") is not None else "onnx"


def read_verdict(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the verdict about a bundle; {} where there is none that holds for it."""
    try:
        verdict = read_object(folder, VERDICT)
        holds = verdict["ok"] is True and verdict["id"] == bundle_id(folder)
        return verdict if holds else {}
    except (BundleError, *UNREADABLE):
        return {}


class Bundle:
    """An intact bundle.

    `predict` maps raw inputs to answers. `decode` makes an input of an image file and `encode` one
    of a text; `text` turns tokens back into a text.
    """

    def __init__(self, folder: Path, identity: str, program: str = "stablehlo"):
        self.folder = folder
        self.id = identity
        self.signature = read_signature(folder)
        self.answer: str = self.signature.get("answer", "numbers")
        self.labels: list[str] = self.signature["labels"]
        self._inputs: dict[str, Any] = self.signature["inputs"]
        self.program = program
        self._program = find_program(self.signature, program)
        if "path" not in self._program:
            why = self._program.get("unavailable")
            kinds = [k for k, said in self.signature["programs"].items() if "path" in said]
            there = f": {why!s:.300}" if why else f"; there are: {', '.join(kinds)}"
            raise BundleError(f"{folder} has no program {program!r:.40}{there}")

    @property
    def exact_sizes(self) -> list[int]:
        """The batch sizes at which the verdict found answers of equal bytes; [] where it is not
        known.
        """
        try:
            found = sorted(read_verdict(self.folder)["exact_sizes"][self.program])
            return found if all(type(n) is int and 0 < n <= MAX_BATCH for n in found) else []
        except UNREADABLE:
            return []

    @property
    def has_cached(self) -> bool:
        """Whether the bundle is of a language model that reads with a cache."""
        return has_cached(self.signature, self.program)

    @cached_property
    def cached(self) -> CachedPrograms:
        """The programs that read with a cache. Raises `BundleError` where there are none."""
        return CachedPrograms(self.folder, self.signature, self.program)

    def cached_rows(self, inputs: Mapping[str, np.ndarray]) -> tuple[list[int], list[list[int]]]:
        """Returns which of `inputs` [B, ...] are read with a cache when that is tried, and the
        tokens of each; none where the bundle does not read with a cache.
        """
        return cached_rows(self.signature, inputs) if self.has_cached else ([], [])

    @cached_property
    def _forward(self) -> Answer:
        return open_program(self.folder, self.program.rpartition("/")[2], self._program)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Computes answers to raw inputs. Where the program takes texts of any length, they are cut
        to about their own.

        Args:
          inputs: a batch of every input of the signature, e.g. `{'image': [B, H, W, C]}`.

        Returns:
          Every output, e.g. `{'probabilities': [B, K], 'label': [B]}`.

        Raises:
          InputError: when names, dtypes or shapes are not those of the signature.
          BundleError: when the program cannot be run by this jax, or an answer is NaN, which is
            no class.
        """
        count = self.check(inputs)
        parts, places = [], []
        for group, cut in self.group_by_length(inputs):
            places.append(group)
            for start in range(0, len(group), MAX_BATCH):
                size = min(MAX_BATCH, len(group) - start)
                # What is left of full batches is one too: the program is compiled for that.
                padded = MAX_BATCH if start else 1 << (size - 1).bit_length()
                # Rows are independent, so any row will do as padding: the last one is repeated.
                rows = np.minimum(np.arange(start, start + padded), start + size - 1)
                answers = self.compute({name: x[rows] for name, x in cut.items()})
                parts.append({name: y[:size] for name, y in answers.items()})
        order = np.argsort(np.concatenate(places))
        outputs = {name: np.concatenate([p[name] for p in parts])[order] for name in parts[0]}
        if self.answer == "class":
            bad = np.isnan(outputs["probabilities"]).reshape(count, -1).any(-1)
            if bad.any():  # its `label` would be 0
                raise BundleError(f"the answer to input {bad.argmax()} is NaN, and no class")
        return outputs

    def compute(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the program on a batch of inputs that were checked, as many as there are: a
        StableHLO program is compiled for each number of them.
        """
        return {name: np.asarray(y) for name, y in self._forward(inputs).items()}

    @cached_property
    def lengths(self) -> list[int]:
        """The lengths to which texts are cut, in order; [] where the program takes one alone."""
        return list_lengths(self.signature, self._program)

    def group_by_length(self, inputs: Mapping[str, np.ndarray]) -> Groups:
        """Groups inputs [B, ...] that were checked by the length to which their texts are cut."""
        return group_by_length(self.signature, self._program, inputs)

    def begin_texts(self, inputs: Mapping[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
        """Returns inputs [B, ...] whose texts are cut to one of `lengths`, what is longer too."""
        return begin_texts(self.signature, inputs, length)

    def check(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Checks a batch of inputs. Returns how many examples it holds.

        Raises:
          InputError: when names, dtypes or shapes are not those of the signature.
        """
        if inputs.keys() != self._inputs.keys():
            raise InputError(f"expected inputs {self._wanted()}, got {', '.join(inputs) or 'none'}")
        for name, declared in self._inputs.items():
            x = inputs[name]
            if x.dtype != np.dtype(declared["dtype"]) or list(x.shape[1:]) != declared["shape"]:
                raise InputError(
                    f"input {name!r}: expected {describe_field(declared)}, got {x.dtype} "
                    f"[{', '.join(map(str, x.shape))}]"
                )
        counts = {len(x) for x in inputs.values()}
        if len(counts) != 1 or counts == {0}:
            raise InputError(f"inputs must hold the same number of examples, >= 1; got {counts}")
        return counts.pop()

    def decode(self, image: str | os.PathLike[str] | bytes) -> np.ndarray:
        """Decodes an image file, or its bytes, to the uint8 `[H, W, C]` of the signature.

        Raises:
          InputError: when it cannot be read as an image, or the bundle takes none.
        """
        decoding = self.signature.get("decoding")
        if not decoding:
            raise InputError(f"this bundle takes no image files; it takes {self._wanted()}")
        return decode_image(image, decoding["steps"])

    @property
    def takes_text(self) -> bool:
        return bool(self.signature.get("text"))

    def encode(self, *texts: str) -> tuple[dict[str, np.ndarray], bool]:
        """Encodes a text, or a pair of texts, as the inputs of one example.

        Returns:
          The inputs without a batch axis, and whether the text was truncated.

        Raises:
          InputError: when the bundle takes no text or another number of them, or the text has too
            many tokens and the signature does not say that it is truncated.
        """
        if not self.takes_text:
            raise InputError(f"this bundle takes no texts; it takes {self._wanted()}")
        return self._texts.encode(*texts)

    def prompt(self, text: str) -> list[int]:
        """Encodes the beginning of a text that is to go on: with a begin token, without an end."""
        return self._texts.prompt(text)

    def text(self, tokens: Sequence[int] | np.ndarray) -> str:
        """Decodes tokens to their text, without special tokens."""
        return self._texts.decode(tokens)

    @cached_property
    def _texts(self) -> TextEncoder:
        return read_encoder(self.folder, self.signature["text"])

    def examples(self) -> dict[str, dict[str, np.ndarray]]:
        """Reads what the exporter's model answered to a few examples, and the truth.

        Returns:
          `{'inputs': {...}, 'outputs': {...}, 'truth': {...}}`, each of arrays by field `[E, ...]`.

        Raises:
          BundleError: when they are not inputs of the signature.
        """
        path = "examples/examples.safetensors"
        groups: dict[str, dict[str, np.ndarray]] = {"inputs": {}, "outputs": {}, "truth": {}}
        for name, array in read_arrays(self.folder, path).items():
            group, _, field = name.partition(".")
            groups.setdefault(group, {})[field] = array
        counts = {x.shape[:1] for fields in groups.values() for x in fields.values()}
        try:
            if len(groups) != 3 or len(counts) != 1:
                raise InputError("expected inputs, outputs and truth of the same examples")
            self.check(groups["inputs"])
        except InputError as e:
            raise BundleError(f"{self.folder}/{path}: {e}") from None
        return groups

    def _wanted(self) -> str:
        return ", ".join(f"{name!r}: {describe_field(d)}" for name, d in self._inputs.items())
