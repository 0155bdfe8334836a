"""What each recipe's model is as an ONNX program, beside its StableHLO program.

    python -m benchmarks.formats               # what is missing
    python -m benchmarks.formats digits_cnn    # this recipe

Each recipe is taken in its tiny form, with weights that were drawn and not trained, for the very
forward pass that a bundle exports: from raw inputs to the answer. A row of
docs/results/formats.json is not made again, unless the recipe's config or the converter has
changed; docs/formats.md is the table. A command that was interrupted goes on with the next one.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from lepton_jax.config.config_file import load_config
from lepton_jax.export.onnx import convert
from lepton_jax.export.stablehlo import export_program
from lepton_jax.isolation.isolated import measure_seconds
from lepton_jax.serving import loader
from lepton_jax.training.build import build_program
from lepton_jax.training.load_data import load_data
from lepton_jax.training.saved import named_weights
from lepton_jax.trees import unflatten_tree

ROOT = Path(__file__).parent.parent
ROWS = ROOT / "docs/results/formats.json"
PAGE = ROOT / "docs/formats.md"
RECIPES = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
BATCHES = (1, 64)

HEAD = """# ONNX and StableHLO, recipe by recipe

Made by `python -m benchmarks.formats`: the tiny form of each recipe, with weights that were drawn,
from raw inputs to the answer. `difference` is the largest one of a float output to the jitted
model, on 7 examples; `equal` counts the elements of whole-number outputs that are the same. `time`
is that of the ONNX program over that of the StableHLO program, in one thread, at batch size 1 and
64: below 1 ONNX is faster. A recipe that computes in bfloat16 is float32 in ONNX, so its answers
differ more. docs/results/formats.json has the rows.

Recurrent layers are operators of ONNX: RNN, LSTM and GRU. Where ONNX is much slower, onnxruntime
calls many small operators, each at a cost of its own. A decoder's round is about 60 to 300 of them.
Random numbers, which a generator of images draws, are about 400 of whole numbers, so that a seed
gives the same bits as in JAX. XLA makes one function of either.
"""


@dataclass(frozen=True)
class Drawn:
    """A recipe's model with weights that were drawn, as export sees it, and examples."""

    fingerprint: str
    precision: str
    weights: dict[str, np.ndarray]
    fields: Mapping[str, Any]
    examples: dict[str, np.ndarray]
    forward: Any

    def answers(self) -> dict[str, np.ndarray]:
        """Returns what the jitted model answers to the examples."""
        made = jax.jit(self.forward)(self.weights, self.examples)
        return {k: np.asarray(v) for k, v in made.items()}

    def open_onnx(self, folder: Path) -> tuple[convert.OnnxProgram, Any]:
        """Converts the model into `folder`; returns the program, and the function that it is."""
        weights_file = save(self.weights)
        made = convert.convert_to_onnx(self.forward, self.fields, weights_file)
        (folder / loader.WEIGHTS).write_bytes(weights_file)
        (folder / loader.ONNX).write_bytes(made.content)
        said = {"path": loader.ONNX, "inputs": made.inputs, "outputs": made.outputs}
        return made, loader.open_onnx(folder, said)


def draw(recipe: str, examples: int = 7) -> Drawn:
    """Builds the tiny form of a recipe, without training it."""
    config, _ = load_config(f"{ROOT}/configs/{recipe}.py:tiny")
    data = load_data(config)
    program = build_program(config, data)
    state = jax.jit(program.training.init)(np.uint32(0), program.training.hyper())
    variables = program.training.variables(state)
    fields = program.inference.input_fields
    split = data.splits["test" if "test" in data.splits else "train"].columns
    rows = np.arange(examples)
    inputs = {
        k: rows.astype(np.uint32) if k == "seed" else np.asarray(split[k][rows % len(split[k])])
        for k in fields
    }

    def forward(weights: Any, inputs: Any) -> dict[str, Any]:
        params, rest = (unflatten_tree(weights, like) for like in variables)
        return dict(program.inference.predict(params, rest, inputs))

    weights = {k: np.array(v) for k, v in named_weights(*variables).items()}
    return Drawn(config.fingerprint(), config.precision, weights, fields, inputs, forward)


def compare(got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the largest difference of floats, and how many of the whole numbers are equal."""
    floats = [k for k, v in wanted.items() if v.dtype.kind == "f"]
    far = [
        np.abs(np.where(got[k] == wanted[k], 0, got[k] - wanted[k])).max(initial=0) for k in floats
    ]
    whole = [k for k in wanted if k not in floats]
    equal = sum(int((got[k] == wanted[k]).sum()) for k in whole)
    total = sum(wanted[k].size for k in whole)
    return {"difference": float(max(far, default=0.0)), "equal": [equal, total]}


def measure(recipe: str) -> dict[str, Any]:
    """Returns the row of a recipe."""
    drawn = draw(recipe)
    row = {"recipe": recipe, "precision": drawn.precision, **_key(recipe)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            made, call = drawn.open_onnx(Path(folder))
        except convert.NotInOnnx as e:
            return row | {"unavailable": str(e)}
        row |= compare(call(drawn.examples), drawn.answers())
        row |= {"nodes": made.nodes, "onnx_bytes": len(made.content)}
        row["weights_bytes"] = sum(w.nbytes for w in drawn.weights.values())
        row["stablehlo_bytes"] = len(export_program(drawn.forward, drawn.weights, drawn.fields)[0])
        jitted, held = jax.jit(drawn.forward), jax.device_put(drawn.weights)
        row["time"] = {}
        for count in BATCHES:
            batch = {k: x[np.arange(count) % len(x)] for k, x in drawn.examples.items()}
            onnx = measure_seconds(lambda batch=batch: call(batch))
            other = measure_seconds(
                lambda batch=batch: jax.tree.map(np.asarray, jitted(held, batch))
            )
            row["time"][str(count)] = round(onnx / other, 3)
    return row


def _key(recipe: str) -> dict[str, str]:
    config, _ = load_config(f"{ROOT}/configs/{recipe}.py:tiny")
    digest = hashlib.sha256()
    for path in sorted(Path(convert.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return {"fingerprint": config.fingerprint(), "converter": digest.hexdigest()[:12]}


def main(names: list[str]) -> None:
    for recipe in names or RECIPES:
        rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
        if not names and any({"recipe": recipe, **_key(recipe)}.items() <= r.items() for r in rows):
            continue
        row = measure(recipe)
        print(json.dumps(row), flush=True)
        rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
        rows = sorted([*(r for r in rows if r["recipe"] != recipe), row], key=lambda r: r["recipe"])
        ROWS.write_text(json.dumps(rows, indent=1) + "\n")
    PAGE.write_text("\n".join([HEAD, *table(json.loads(ROWS.read_text())), ""]))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the rows as lines of Markdown."""
    heads = ("recipe", "difference", "equal", "nodes", "onnx KB", "stablehlo KB", "weights KB")
    lines = [f"| {' | '.join(heads)} | time at 1 | time at 64 |", "|" + "---|" * 9]
    for r in rows:
        name = r["recipe"] + (" (bfloat16)" if r["precision"] == "bfloat16" else "")
        if "unavailable" in r:
            lines.append(f"| {name} | {r['unavailable']} |" + " |" * 7)
            continue
        sizes = [f"{r[k] / 1e3:,.0f}" for k in ("onnx_bytes", "stablehlo_bytes", "weights_bytes")]
        equal = "{} of {}".format(*r["equal"]) if r["equal"][1] else ""
        times = [f"{r['time'][str(n)]:.2f}" for n in BATCHES]
        cells = [name, f"{r['difference']:.1g}", equal, str(r["nodes"]), *sizes, *times]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread
    main(sys.argv[1:])
