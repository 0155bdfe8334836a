"""Writes a bundle: a trained model as a folder that answers without lepton_jax.

Its id is the digest of its manifest. Two exports of one run on one day, with the same versions,
give the same bytes. The bundle states the date, as jax promises to read a program for six months.
"""

import datetime
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np
from safetensors.numpy import save

from lepton_jax.answers.kind import find_kind
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.evaluation.answered import ANSWERED
from lepton_jax.export import stablehlo
from lepton_jax.export.answered import answer_test
from lepton_jax.export.cached import make_cached
from lepton_jax.export.documents import write_documents
from lepton_jax.export.drift_reference import make_reference
from lepton_jax.export.examples import (
    EXAMPLES_FILE,
    choose_examples,
    example_images,
    example_texts,
)
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.lineage import build_lineage, check_clean, scrub_values
from lepton_jax.export.mlflow_model import describe_for_mlflow
from lepton_jax.export.onnx.program import make_onnx
from lepton_jax.export.raw_inputs import describe_inputs
from lepton_jax.export.replaced import describe_replaced
from lepton_jax.export.variants import make_variant
from lepton_jax.export.verify import TOLERANCE
from lepton_jax.io.atomic import replace_folder
from lepton_jax.io.files import json_bytes, replace_non_finite
from lepton_jax.io.timestamps import build_date
from lepton_jax.isolation.promise import promised_until
from lepton_jax.isolation.tried import note_tried
from lepton_jax.serving.loader import MANIFEST, ONNX, WEIGHTS, bundle_id, manifest_bytes

PROGRAM = "programs/stablehlo/forward.bin"


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
            f"The bundle is in {self.path}; next: {format_command('verify', bundle=self.path)}"
        )


def export_bundle(
    model: Exportable, out: str, replace: bool = False, *, date: datetime.date | None = None
) -> ExportedBundle:
    """Writes the bundle of `model` to the folder `out`, replacing an earlier one of its run there.

    Args:
      replace: also replaces the bundle of another run.
      date: the day of export that the bundle states; by default today (UTC), or that of the
        environment's SOURCE_DATE_EPOCH.

    Raises:
      UserError: when `out` holds something else than a bundle of this run, or cannot be written.
      WorkError: when the model cannot be exported, the disk is full, or a file would carry a path
        or a secret of this machine.
    """
    target = Path(os.path.realpath(out))  # a link to a folder stays one
    note = describe_replaced(target, model, out, replace) if target.exists() else ""
    files = _bundle_files(model, (date or build_date()).isoformat())
    check_clean({n: c for n, c in files.items() if n != WEIGHTS}, model.workdir)
    try:
        with replace_folder(target) as folder:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            (folder / MANIFEST).write_bytes(manifest_bytes(folder, files))
    except (PermissionError, NotADirectoryError, FileExistsError) as e:
        raise UserError(f"cannot write {target}: {e.strerror}; choose another --out") from None
    except OSError as e:
        raise WorkError(f"cannot write {target}: {e.strerror}") from None
    if note:
        say(note)
    identity = bundle_id(target)
    note_tried(identity, "stablehlo", *(["onnx"] if ONNX in files else []))  # they ran here
    size = sum(map(len, files.values()))
    return ExportedBundle(identity, out, model.step, len(files) + 1, size)


def _bundle_files(model: Exportable, date: str) -> dict[str, bytes]:
    """Returns every file of the bundle but its manifest; the same run and date give the same."""
    weights = {k: np.ascontiguousarray(w) for k, w in model.weights.items()}
    x64 = any(w.dtype == np.float64 for w in weights.values())
    split, index, columns = choose_examples(model)
    inputs = {name: np.asarray(columns[name][index]) for name in model.input_fields}
    with jax.enable_x64(x64):
        program, low = stablehlo.export_program(model.forward, weights, model.input_fields)
        outputs = stablehlo.compute_answers(model.forward, weights, inputs)
        answered = answer_test(model)
    _check_answer(model, outputs)
    examples = {
        **{f"inputs.{k}": v for k, v in inputs.items()},
        **{f"outputs.{k}": v for k, v in outputs.items()},
        **{f"truth.{k}": np.asarray(v[index]) for k, v in columns.items() if k in outputs},
    }
    described = {k: {"dtype": str(y.dtype), "shape": list(y.shape[1:])} for k, y in outputs.items()}
    signature = {**describe_inputs(model), "outputs": described}
    signature["programs"] = {
        "stablehlo": {
            "exported": date,
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "path": PROGRAM,
            "platforms": list(stablehlo.PLATFORMS),
            "promised_until": str(promised_until(datetime.date.fromisoformat(date))),
            "x64": x64,
        }
    }
    signature["tolerance"] = TOLERANCE["bfloat16" if low else "float32"]
    weights_file = save(weights)
    onnx, signature["programs"]["onnx"] = make_onnx(model, weights_file, signature, inputs, outputs)
    more, said = make_cached(model, weights, weights_file, signature, inputs, outputs)
    signature |= said
    for name in model.variants:
        smaller, described = make_variant(name, model, signature, inputs)
        signature.setdefault("variants", {})[name] = described
        more |= smaller
    more |= make_reference(model, signature)
    lineage = build_lineage(model, date)
    # A metric that is no number is null, and so below every gate.
    results = replace_non_finite(scrub_values(_results_at_step(model)), by="null")
    files = {
        PROGRAM: program,
        WEIGHTS: weights_file,
        **({ONNX: onnx, **describe_for_mlflow(signature)} if onnx is not None else {}),
        **more,
        **({ANSWERED: answered.as_bytes()} if answered is not None else {}),
        EXAMPLES_FILE: save({k: np.ascontiguousarray(v) for k, v in examples.items()}),
        "lineage.json": json_bytes(lineage),
        "metrics.json": json_bytes(results),
        "signature.json": json_bytes(signature),
    }
    if "text" in signature and model.texts:
        files["tokenizer.json"] = model.texts.tokenizer.text.encode()
        files["examples/texts.json"] = json_bytes(example_texts(model, split, index))
    if signature["decoding"]:
        files |= example_images(inputs[signature["decoding"]["input"]])
    return files | write_documents(model, signature, lineage, results, files)


def _check_answer(model: Exportable, outputs: Mapping[str, np.ndarray]) -> None:
    absent = [name for name in find_kind(model.answer).outputs if name not in outputs]
    if absent:
        raise UserError(
            f"the task's answer is {model.answer!r}, which needs {', '.join(absent)}; the task "
            f"predicts {', '.join(outputs)}"
        )
    for name, values in outputs.items():
        if np.issubdtype(values.dtype, np.floating) and np.isnan(values).any():
            raise UserError(
                f"step {model.step} of {model.workdir} answers its examples with NaN ({name!r}): "
                "such a model is not exported; choose another --checkpoint"
            )


def _results_at_step(model: Exportable) -> dict[str, Any]:
    """Returns the results by split that were measured at the step which is exported."""
    results = {k: dict(v) for k, v in model.results.items() if k != "checkpoint"}
    return {k: v for k, v in results.items() if v.pop("step", None) == model.step}
