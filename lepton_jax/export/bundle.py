"""Writes a bundle: a trained run as a folder that answers without the lab that made it.

The digest of its manifest is its name. The same run exported twice on one day, with the same
versions, gives the same bytes; the date is part of what a bundle says of itself, as jax promises
to read a program for six months from it.
"""

import datetime
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lepton_jax.answers.kind import find_kind
from lepton_jax.atomic import replace_folder
from lepton_jax.config.pipeline import Pipeline
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export.lineage import build_lineage, check_clean, scrub_values
from lepton_jax.serving.loader import MANIFEST, bundle_id, manifest_bytes
from lepton_jax.tracking.files import replace_non_finite

EXAMPLES = 16
PROGRAM = "programs/stablehlo/forward.bin"
WEIGHTS = "weights.safetensors"

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""How far a float output may lie from the exporter's, by the precision of the computation.
Measured: 0 on one machine, 1.5e-6 in float32 between versions of XLA."""

MODES = {"grayscale": "L", "rgb": "RGB"}
"""Host transforms that change the channels, in Pillow's words."""


OF_THE_TRUTH = ("pad_boxes", "drop_empty_boxes")
"""Host transforms that leave the image as it is."""


class Texts(Protocol):
    """How the data's texts became tokens; see `lepton_jax.training.saved.RunTexts`."""

    @property
    def tokenizer(self) -> str: ...
    @property
    def served(self) -> dict[str, Any]: ...
    def of(self, split: str, index: np.ndarray, /) -> list[dict[str, Any]]: ...


class Trained(Protocol):
    """What export needs of a run; see `lepton_jax.training.saved.SavedRun`."""

    @property
    def workdir(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def weights(self) -> dict[str, np.ndarray]: ...
    @property
    def input_fields(self) -> Mapping[str, Any]: ...
    @property
    def answer(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def decode(self) -> Pipeline: ...
    @property
    def config_text(self) -> str: ...
    @property
    def results(self) -> dict[str, Any]: ...
    @property
    def provenance(self) -> dict[str, Any]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def data_fingerprint(self) -> str: ...
    @property
    def texts(self) -> "Texts | None": ...
    def split(self, name: str) -> Any: ...
    def forward(
        self, weights: Mapping[str, Any], inputs: Mapping[str, Any], /
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ExportedBundle:
    """A bundle that was written."""

    id: str
    path: str
    step: int
    files: int
    bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"Exported step {self.step}: {self.files} files, {self.bytes / 1e6:.2f} MB\n"
            f"{self.id}\n"
            f"The bundle is in {self.path}; next: python launch.py verify --bundle={self.path}"
        )


def export_bundle(
    trained: Trained, out: str, *, date: datetime.date | None = None
) -> ExportedBundle:
    """Writes the bundle of `trained` to the folder `out`, replacing a bundle that is there.

    Args:
      date: the day of export that the bundle states; by default today (UTC), or that of the
        environment's SOURCE_DATE_EPOCH.

    Raises:
      UserError: when `out` holds something else than a bundle, or cannot be written.
      WorkError: when the model cannot be exported, the disk is full, or a file would carry a path
        or a secret of this machine.
    """
    target = Path(os.path.abspath(out))
    if target.exists() and not _replaceable(target):
        raise UserError(f"--out={out} exists and is no bundle; give a folder that does not exist")
    files = _contents(trained, (date or _today()).isoformat())
    check_clean({n: c for n, c in files.items() if n != WEIGHTS}, trained.workdir)
    try:
        with replace_folder(target) as folder:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            (folder / MANIFEST).write_bytes(manifest_bytes(folder, files))
            folder.chmod(0o755)
    except (PermissionError, NotADirectoryError, FileExistsError) as e:
        raise UserError(f"cannot write {target}: {e.strerror}; choose another --out") from None
    except OSError as e:
        raise WorkError(f"cannot write {target}: {e.strerror}") from None
    size = sum(map(len, files.values()))
    return ExportedBundle(bundle_id(target), out, trained.step, len(files) + 1, size)


def _contents(trained: Trained, date: str) -> dict[str, bytes]:
    """Every file of the bundle but its manifest: deterministic, given the run and the date."""
    import jax
    import jaxlib
    from safetensors.numpy import save

    from lepton_jax.export import stablehlo

    weights = {k: np.ascontiguousarray(w) for k, w in trained.weights.items()}
    x64 = any(w.dtype == np.float64 for w in weights.values())
    split, index, columns = _chosen(trained)
    inputs = {name: np.asarray(columns[name][index]) for name in trained.input_fields}
    with jax.enable_x64(x64):
        program, low = stablehlo.export_program(trained.forward, weights, trained.input_fields)
        outputs = stablehlo.compute_answers(trained.forward, weights, inputs)
    examples = {
        **{f"inputs.{k}": v for k, v in inputs.items()},
        **{f"outputs.{k}": v for k, v in outputs.items()},
        **{f"truth.{k}": np.asarray(v[index]) for k, v in columns.items() if k in outputs},
    }
    absent = [name for name in find_kind(trained.answer).outputs if name not in outputs]
    if absent:
        raise UserError(
            f"the task's answer is {trained.answer!r}, of which {', '.join(absent)} should be; it "
            f"predicts {', '.join(outputs)}"
        )
    decoding = _decoding(trained)
    signature = {
        "answer": trained.answer,
        "decoding": decoding,
        "inputs": {
            k: {"dtype": str(np.dtype(s.dtype)), "shape": list(s.shape)}
            for k, s in trained.input_fields.items()
        },
        "labels": list(trained.classes),
        "outputs": {
            k: {"dtype": str(y.dtype), "shape": list(y.shape[1:])} for k, y in outputs.items()
        },
        "programs": {
            "stablehlo": {
                "exported": date,
                "jax": jax.__version__,
                "jaxlib": jaxlib.__version__,
                "path": PROGRAM,
                "platforms": list(stablehlo.PLATFORMS),
                "x64": x64,
            }
        },
        "tolerance": TOLERANCE["bfloat16" if low else "float32"],
    }
    text = _text(trained)
    if text:
        signature["text"] = text
    files = {
        PROGRAM: program,
        WEIGHTS: save(weights),
        "examples/examples.safetensors": save(
            {k: np.ascontiguousarray(v) for k, v in examples.items()}
        ),
        "lineage.json": _json(build_lineage(trained, date)),
        "metrics.json": _json(scrub_values(_metrics(trained))),
        "signature.json": _json(signature),
    }
    if text and trained.texts:
        files["tokenizer.json"] = trained.texts.tokenizer.encode()
        files["examples/texts.json"] = _json(trained.texts.of(split, index))
    if decoding:
        for i, image in enumerate(inputs[decoding["input"]]):
            files[f"examples/{i:02d}.png"] = _png(image)
    return files


def _chosen(trained: Trained) -> tuple[str, np.ndarray, Mapping[str, np.ndarray]]:
    """The test split's name, indices of examples spread evenly over it, and its columns.

    Data without one lends examples from what it has. A model that answers to seeds alone needs
    none, and there is no truth to compare its answers with.
    """
    if trained.input_fields.keys() == {"seed"}:
        return "", np.arange(EXAMPLES), {"seed": np.arange(EXAMPLES, dtype=np.uint32)}
    name = "test"
    try:
        split = trained.split(name)
    except UserError:
        name = "train"
        split = trained.split(name)
    count = min(EXAMPLES, len(split))
    return name, np.linspace(0, len(split) - 1, count).astype(np.int64), split.columns


def _metrics(trained: Trained) -> dict[str, Any]:
    """The run's results by split: those that were measured at the step that is exported."""
    found = {k: dict(v) for k, v in trained.results.items() if k != "checkpoint"}
    return {k: v for k, v in found.items() if v.pop("step", None) == trained.step}


def _decoding(trained: Trained) -> dict[str, Any] | None:
    """How an image file becomes the input: the run's own host pipeline, then mode and size.

    None where there is no one image input, or the pipeline has steps of the user's own, whose code
    does not travel with a bundle; such a bundle takes arrays.
    """
    images = {
        name: spec.shape
        for name, spec in trained.input_fields.items()
        if len(spec.shape) == 3 and spec.shape[-1] in (1, 3) and np.dtype(spec.dtype) == np.uint8
    }
    if len(images) != 1 or len(trained.input_fields) != 1:
        return None
    ((name, (height, width, channels)),) = images.items()
    steps: list[tuple[str, dict[str, Any]]] = []
    for transform in trained.decode:
        keys = dict(transform.keys)
        if transform.name in OF_THE_TRUTH:
            continue
        if transform.name in MODES:
            steps.append(("mode", {"mode": MODES[transform.name]}))
        elif transform.name in ("resize", "center_crop"):
            steps.append((transform.name, {**keys, "width": keys["width"] or keys["height"]}))
        elif transform.name == "resize_shorter":
            steps.append((transform.name, keys))
        else:
            return None
    # What these two ask for is already so after most pipelines: they are for files of other kinds.
    steps.append(("mode", {"mode": "L" if channels == 1 else "RGB"}))
    steps.append(("resize", {"height": height, "width": width}))
    return {"input": name, "steps": steps}


def _text(trained: Trained) -> dict[str, Any] | None:
    """How a text becomes the inputs; None where the data has none, or the task takes more than what
    is made of it.
    """
    if trained.texts is None:
        return None
    served = trained.texts.served
    fields = {p: f for p, f in served["inputs"].items() if f in trained.input_fields}
    if set(fields.values()) != set(trained.input_fields):
        return None
    return {**served, "inputs": fields}


def _png(image: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def _json(value: Any) -> bytes:
    # A metric that is no number is null, and so below every gate.
    finite = replace_non_finite(value, by="null")
    return (json.dumps(finite, indent=1, sort_keys=True) + "\n").encode()


def _today() -> datetime.date:
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date()


def _replaceable(target: Path) -> bool:
    if not target.is_dir():
        return False
    return (target / MANIFEST).exists() or not any(target.iterdir())
