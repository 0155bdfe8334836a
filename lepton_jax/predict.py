"""Answers from a bundle, on disk or in the registry, and their drawing in a terminal."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lepton_jax.answers.objects import DetectedObjects, detected_objects
from lepton_jax.errors import UserError, WorkError
from lepton_jax.serving import loader

SHADES = " ░▒▓█"
WIDEST = 32
"""Pixels: larger images are thinned out for the terminal."""


@dataclass(frozen=True)
class Answer:
    """What the model says of one input. `truth` is None where it is not known: the class, or the
    fields of the data that outputs are named after. `label` and `probability` are None where the
    answer is of no class: an image, a `text`, numbers.
    """

    input: str
    label: str | None
    probability: float | None
    truth: str | dict[str, Any] | None
    outputs: dict[str, Any]
    image: np.ndarray | None = field(repr=False, compare=False, default=None)
    text: str | None = None
    of_text: bool = False

    def as_json(self) -> dict[str, Any]:
        kept = ("input", "label", "probability", "truth", "outputs")
        found = {k: getattr(self, k) for k in kept}
        return found if self.text is None else {**found, "text": self.text}

    def line(self) -> str:
        """Of an input that is a text, what is said of it."""
        if self.text is not None:
            return f"{self.input} -> {self.text}"
        if self.label is None:
            return f"{self.input} -> {', '.join(_numbers(self.outputs, self.truth))}"
        sure = f"{self.label} ({self.probability:.1%})"
        wrong = "" if self.truth in (None, self.label) else f", true {self.truth} WRONG"
        return f"{self.input} -> {sure}{wrong}"


@dataclass(frozen=True)
class Predictions:
    """Answers, in the order of the inputs, and the bundle that gave them.

    `flag` is what names that bundle on the command line, `takes` what it answers.
    """

    id: str
    source: str
    answers: tuple[Answer | DetectedObjects, ...]
    flag: str
    takes: str

    def as_json(self) -> dict[str, Any]:
        answers = [a.as_json() for a in self.answers]
        return {"id": self.id, "source": self.source, "answers": answers}

    def __str__(self) -> str:
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        return self.drawn(color=color)

    def drawn(self, *, color: bool = False, columns: int = 80) -> str:
        """The images, if they are small, with what the model says below; objects in lines."""
        others = [a for a in self.answers if isinstance(a, Answer)]
        known = [a for a in others if a.label is not None and a.truth is not None]
        right = sum(a.label == a.truth for a in known)
        lines = [line for a in self.answers if isinstance(a, DetectedObjects) for line in a.lines()]
        lines += [a.line() for a in others if a.of_text]
        lines += _gallery([a for a in others if not a.of_text], color, columns)
        if known:
            lines.append(f"{right} of {len(known)} as labelled")
        lines.append(f"Answered by {self.source}, {self.id}")
        lines.append(f"next: python launch.py predict {self.flag} {self.takes}")
        return "\n".join(lines)


def predict(
    *,
    bundle: str | None = None,
    model: str | None = None,
    inputs: Sequence[str | os.PathLike[str] | np.ndarray] = (),
    examples: int = 0,
) -> Predictions:
    """Answers to image files, arrays, or the bundle's own examples, whose truth is known.

    Args:
      bundle: a bundle's folder; or
      model: 'NAME@ALIAS', 'NAME/VERSION' or 'NAME' in the registry, whose digest is checked.
      inputs: image files (brought to size by the bundle's declared decoding), `.npy` files or
        arrays of raw inputs, one [...] or many [N, ...]; seeds for a bundle that generates; texts,
        of a pair with a tab between, for a bundle that takes them.
      examples: how many of the bundle's examples to answer as well.

    Raises:
      UserError: when an input cannot be read or is not what the bundle takes.
      WorkError: when the bundle is damaged or cannot be run.
    """
    if (bundle is None) == (model is None):
        raise UserError("predict with what? give either --bundle=DIR or --model=NAME@staging")
    if not inputs and not examples:
        raise UserError("predict what? give image or .npy files, a text, or --examples=8")
    try:
        loaded, source = opened(bundle, model)
        raw, truth = _gather(loaded, inputs, examples)
        fields = {name: np.stack([x[name] for _, x in raw]) for name in raw[0][1]}
        outputs = loaded.predict(fields)
    except loader.InputError as e:
        raise UserError(str(e)) from None
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    answers = tuple(
        _answer(loaded, name, x, {k: v[i] for k, v in outputs.items()}, truth.get(i, {}))
        for i, (name, x) in enumerate(raw)
    )
    flag = f"--model={model}" if bundle is None else f"--bundle={bundle}"
    return Predictions(loaded.id, source, answers, flag, _takes(loaded))


def _takes(bundle: loader.Bundle) -> str:
    """What one gives a bundle to answer, as a user would write it."""
    if bundle.takes_text:
        return "'TEXT'"
    if bundle.signature["inputs"].keys() == {"seed"}:
        return "SEED"
    images = [s for s in bundle.signature["inputs"].values() if s["dtype"] == "uint8"]
    return "FILE.png" if any(len(s["shape"]) == 3 for s in images) else "FILE.npy"


def _answer(
    bundle: loader.Bundle,
    name: str,
    inputs: dict[str, np.ndarray],
    outputs: dict[str, np.ndarray],
    truth: dict[str, np.ndarray],
) -> Answer | DetectedObjects:
    """What outputs mean for one input, all without the batch axis."""
    if bundle.answer == "objects":
        seen = detected_objects(truth, bundle.labels) if "boxes" in truth else None
        return DetectedObjects(name, detected_objects(outputs, bundle.labels), seen, _image(inputs))
    one = {k: v.tolist() for k, v in outputs.items()}
    of_text = bundle.takes_text
    if bundle.answer == "text" and of_text:
        text = bundle.text(outputs["tokens"][: int(outputs["length"])])
        return Answer(name, None, None, None, one, text=text, of_text=True)
    if bundle.answer != "class":
        known = {k: v.tolist() for k, v in truth.items()} or None
        return Answer(name, None, None, known, one, _image(outputs), of_text=of_text)
    labelled = _name(bundle, int(truth["label"])) if "label" in truth else None
    chosen = int(one["label"])
    said, sure = _name(bundle, chosen), one["probabilities"][chosen]
    return Answer(name, said, sure, labelled, one, _image(inputs), of_text=of_text)


def opened(bundle: str | None, model: str | None) -> tuple[loader.Bundle, str]:
    """The bundle in a folder or in the registry, and what it is called."""
    if bundle is not None:
        if not os.path.isdir(bundle):
            raise UserError(f"--bundle={bundle}: there is no such folder")
        return loader.load_bundle(bundle), bundle
    from lepton_jax.registry.store import Registry

    assert model is not None
    registry = Registry()
    version = registry.resolve(model)
    return loader.load_bundle(
        registry.fetch(version), version.id
    ), f"{version.name} from the registry"


def _gather(
    bundle: loader.Bundle, inputs: Sequence[Any], examples: int
) -> tuple[list[tuple[str, dict[str, np.ndarray]]], dict[int, dict[str, np.ndarray]]]:
    """Named raw inputs, one example each, and the truth of those of which it is known."""
    raw: list[tuple[str, dict[str, np.ndarray]]] = []
    truth: dict[int, dict[str, np.ndarray]] = {}
    if examples:
        stored = bundle.examples()
        for i in range(min(examples, len(next(iter(stored["inputs"].values()))))):
            truth[len(raw)] = {k: v[i] for k, v in stored["truth"].items()}
            inputs_of = {k: v[i] for k, v in stored["inputs"].items()}
            raw.append((_example_name(bundle, i, inputs_of), inputs_of))
    for i, given in enumerate(inputs):
        if isinstance(given, np.ndarray):
            raw += _arrays(bundle, f"array {i}", given)
        elif os.fspath(given).endswith(".npy"):
            raw += _arrays(bundle, os.fspath(given), _read_array(os.fspath(given)))
        elif bundle.takes_text:
            encoded, cut = bundle.encode(*os.fspath(given).split("\t"))
            raw.append((f"{given} (cut)" if cut else os.fspath(given), encoded))
        elif bundle.signature["inputs"].keys() == {"seed"}:
            raw.append((f"seed {given}", {"seed": _seed(os.fspath(given))}))
        else:
            name = next(iter(bundle.signature["inputs"]))
            raw.append((os.fspath(given), {name: bundle.decode(given)}))
    return raw, truth


def _example_name(bundle: loader.Bundle, i: int, inputs: dict[str, np.ndarray]) -> str:
    """What an example is called: a text by itself."""
    if not bundle.takes_text:
        return f"example {i}"
    fields = bundle.signature["text"]["inputs"]
    tokens = inputs[fields["tokens"]]
    length = int(inputs[fields["length"]]) if "length" in fields else len(tokens)
    return f"example {i}: {bundle.text(tokens[:length])}"


def _arrays(
    bundle: loader.Bundle, name: str, array: np.ndarray
) -> list[tuple[str, dict[str, np.ndarray]]]:
    declared = bundle.signature["inputs"]
    if len(declared) != 1:
        raise UserError(f"{name}: this bundle takes {len(declared)} inputs, not one array")
    ((field_, spec),) = declared.items()
    rank = len(spec["shape"])
    batch = array[None] if array.ndim == rank else array
    if list(batch.shape[1:]) != spec["shape"] or batch.dtype != np.dtype(spec["dtype"]):
        raise UserError(
            f"{name}: expected {spec['dtype']} {spec['shape']} or a batch of those, got "
            f"{array.dtype} {list(array.shape)}"
        )
    named = [name] if batch is not array else [f"{name}[{i}]" for i in range(len(batch))]
    return [(n, {field_: x}) for n, x in zip(named, batch, strict=True)]


def _read_array(path: str) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as e:
        raise UserError(f"cannot read {path} as an array: {e}") from None


def _seed(text: str) -> np.ndarray:
    if not text.isdecimal() or int(text) >= 2**32:
        raise UserError(f"this bundle takes seeds, whole numbers below 2^32; got {text!r}")
    return np.asarray(int(text), np.uint32)


def _image(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    return next((a for a in arrays.values() if a.ndim == 3 and a.dtype == np.uint8), None)


def _name(bundle: loader.Bundle, label: int) -> str:
    if 0 <= label < len(bundle.labels):
        return bundle.labels[label]
    return repr(bundle.text([label])) if bundle.takes_text else str(label)


def _gallery(answers: Sequence[Answer], color: bool, columns: int) -> list[str]:
    """Pictures side by side, as many as fit, each with its caption."""
    cells = [[*_picture(a.image, color), *_caption(a)] for a in answers]
    widths = [max([len(line) for line in _caption(a)] + [_width(a.image, color)]) for a in answers]
    lines: list[str] = []
    start = 0
    while start < len(cells):
        stop, used = start + 1, widths[start]
        while stop < len(cells) and used + 3 + widths[stop] <= columns:
            used += 3 + widths[stop]
            stop += 1
        tall = max(map(len, cells[start:stop]))
        for row in range(tall):
            # Pictures of unlike heights stand on one line with their captions.
            parts = [
                _padded(([""] * (tall - len(c)) + c)[row], w)
                for c, w in zip(cells[start:stop], widths[start:stop], strict=True)
            ]
            lines.append("   ".join(parts).rstrip())
        lines.append("")
        start = stop
    return lines


def _caption(answer: Answer) -> list[str]:
    if answer.label is None:
        return [os.path.basename(answer.input), *_numbers(answer.outputs, answer.truth)]
    said = f"{answer.label} ({answer.probability:.1%})"
    if answer.truth is None:
        return [os.path.basename(answer.input), said]
    wrong = "" if answer.truth == answer.label else " WRONG"
    return [f"true {answer.truth}", f"said {said}{wrong}"]


def _numbers(outputs: Mapping[str, Any], truth: Any) -> list[str]:
    """Outputs that are no answer of a known kind and fit a line: `degrees 12.5 (true 11)`."""

    def shown(x: Any) -> str:
        return np.array2string(np.asarray(x), precision=4)

    true = {name: f" (true {shown(x)})" for name, x in (truth or {}).items()}
    small = {name: x for name, x in outputs.items() if np.size(x) <= 8}
    return [f"{name} {shown(x)}{true.get(name, '')}" for name, x in small.items()]


def _picture(image: np.ndarray | None, color: bool) -> list[str]:
    if image is None:
        return []
    image = _thinned(image, color)
    if color:
        top_bottom = zip(image[::2], image[1::2], strict=True)
        return [
            "".join(
                f"\x1b[38;2;{_rgb(t)};48;2;{_rgb(b)}m▀" for t, b in zip(top, bottom, strict=True)
            )
            + "\x1b[0m"
            for top, bottom in top_bottom
        ]
    shade = (image.mean(-1) / 256 * len(SHADES)).astype(int)
    return ["".join(SHADES[s] * 2 for s in row) for row in shade]


def _thinned(image: np.ndarray, color: bool) -> np.ndarray:
    """At most WIDEST pixels wide (half of that without colour), and of even height for colour."""
    widest = WIDEST if color else WIDEST // 2
    step = max(1, -(-max(image.shape[:2]) // widest))
    image = image[::step, ::step]
    return np.pad(image, ((0, len(image) % 2), (0, 0), (0, 0))) if color else image


def _width(image: np.ndarray | None, color: bool) -> int:
    if image is None:
        return 0
    return _thinned(image, color).shape[1] * (1 if color else 2)


def _rgb(pixel: np.ndarray) -> str:
    return ";".join(
        str(int(v)) for v in np.broadcast_to(pixel[:3] if len(pixel) > 2 else pixel[:1], 3)
    )


def _padded(line: str, width: int) -> str:
    """`line` padded to `width` visible columns; a coloured line is as wide as its blocks."""
    shown = line.count("▀") if "\x1b" in line else len(line)
    return line + " " * (width - shown)
