"""The README.md of a bundle: what it is, and programs that ask it, written for this very bundle.

The programs read the bundle's own examples where their bytes lie, so that they need nothing but
what they ask: onnxruntime, or jax and safetensors.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.answers.kind import find_kind_or_numbers
from lepton_jax.export.examples import EXAMPLES_FILE
from lepton_jax.export.input_code import continue_code, image_code, text_code
from lepton_jax.serving.loader import ONNX, WEIGHTS

_TYPED_ARRAYS = {
    **{"bool": "Uint8Array", "uint8": "Uint8Array", "int8": "Int8Array", "int32": "Int32Array"},
    **{"uint16": "Uint16Array", "int16": "Int16Array", "uint32": "Uint32Array"},
    **{"float32": "Float32Array", "float64": "Float64Array"},
    **{"int64": "BigInt64Array", "uint64": "BigUint64Array"},
}
"""JavaScript's arrays by dtype."""

FILES = {
    ONNX: "the model as an ONNX program; it reads `weights.safetensors` beside it",
    "prefill.onnx": "a language model's program that reads a prompt; signature.json says how",
    "step.onnx": "its program that takes one token of each text, with the cache",
    "variants/": "smaller weights, with their programs; signature.json says what they cost",
    "programs/": "the model as StableHLO programs, for CPU, CUDA and TPU",
    WEIGHTS: "the parameters",
    "signature.json": "inputs and outputs: names, dtypes, shapes of one example; names of classes",
    "tokenizer.json": "how a text becomes tokens",
    "drift/": "statistics of held-out examples, by which a server tells when its inputs move",
    "examples/": "a few inputs, and what the model answered when it was exported",
    "metrics.json": "the results that were measured",
    "model_card.md": "what the model is for, how good it is, and its limits",
    "sbom.json": "what the bundle is made of, in CycloneDX",
    "MLmodel": "the same for MLflow, whose `pyfunc.load_model` takes this folder",
    "lineage.json": "the config, data and code that it came from",
    "manifest.json": "every file with its SHA-256",
}


def write_readme(
    title: str, signature: Mapping[str, Any], examples: bytes, names: Sequence[str]
) -> str:
    """Returns README.md.

    Args:
      title: what the model is, in a few words.
      examples: the bundle's file of examples, into which the programs point.
      names: the other files of the bundle.
    """
    places = _find_places(examples)
    code = signature["programs"]
    inputs = {k: places[f"inputs.{k}"] for k in sorted(signature["inputs"])}
    shown = _first_output(signature)
    stablehlo = code["stablehlo"]
    parts = [
        f"# {title}\n\n{_what_it_is(signature)} To ask it you need this folder and "
        "one of the packages below, and no other code.",
        _table("it takes", signature["inputs"]),
        _table("it answers", signature["outputs"]),
        "Every input and output has a batch axis in front, of any length. The programs below ask "
        f"the examples in `{EXAMPLES_FILE}`. Run them in this folder.",
    ]
    if "path" in code["onnx"]:
        parts += [
            "## With onnxruntime\n\n    pip install onnxruntime",
            _fenced("python", _onnx_code(code["onnx"], inputs, shown)),
            *_say_lengths(signature),
        ]
    parts += [
        f'## With JAX\n\n    pip install "jax>={stablehlo["jax"]}" safetensors flatbuffers',
        _fenced("python", _jax_code(stablehlo, inputs, shown)),
        f"jax promises to read this program until {stablehlo['promised_until']}. "
        "Later versions of jax may refuse it"
        + ("; the ONNX program has no such end." if "path" in code["onnx"] else "."),
    ]
    if "path" in code["onnx"]:
        parts += [
            "## With Node.js\n\n    npm install onnxruntime-node",
            _fenced("js", _node_code(code["onnx"], inputs, shown)),
        ]
    if signature["decoding"]:
        parts += [
            "## An image of your own\n\n    pip install numpy pillow",
            _fenced("python", image_code(signature["decoding"])),
        ]
    if signature.get("text"):
        parts += [
            "## A text of your own\n\n    pip install numpy tokenizers",
            _fenced("python", text_code(signature["text"])),
        ]
    if "step" in (signature.get("cached") or {}).get("programs", {}).get("onnx", {}):
        parts += [
            "## A text that goes on\n\n    pip install onnxruntime tokenizers",
            _fenced("python", continue_code(signature["text"], signature["cached"])),
            "`prefill.onnx` reads the beginning of a text, and `step.onnx` takes one token of each "
            "of several texts, with the cache of each: their caches, one after the other, are the "
            "cache of all. `programs/stablehlo/` has the same two programs for JAX.",
        ]
    there = [(n, s) for n, s in FILES.items() if any(x.startswith(n) for x in names)]
    rows = [f"| `{name}` | {said} |" for name, said in there]
    parts.append("\n".join(["## Files\n", "| file | holds |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _find_places(content: bytes) -> dict[str, dict[str, Any]]:
    """Returns where each array of a safetensors file lies: `dtype`, `shape`, `begin`, `end`."""
    from safetensors.numpy import load

    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    places = {}
    for name, array in load(content).items():
        begin, end = header[name]["data_offsets"]
        where = {"begin": start + begin, "end": start + end}
        places[name] = {"dtype": str(array.dtype), "shape": array.shape, **where}
    return places


def _first_output(signature: Mapping[str, Any]) -> str:
    """Returns the output that the programs print: the first one that the kind of answer names."""
    kind, _ = find_kind_or_numbers(signature["answer"])
    named = [name for name in kind.outputs if name in signature["outputs"]]
    return named[0] if named else next(iter(signature["outputs"]))


def _what_it_is(signature: Mapping[str, Any]) -> str:
    said = {
        "class": "It answers with a class: `label` is its place in `labels` of `signature.json`, "
        "and `probabilities` has the probability of each.",
        "objects": "It finds objects: `boxes` are (ymin, xmin, ymax, xmax) as shares of the "
        "image, `labels` are places in `labels` of `signature.json`, and `scores` are in order, "
        "the surest first; a score of 0 is no object.",
        "text": "It answers a text with a text: of `tokens` the first `length` count, and "
        "`tokenizer.json` makes words of them.",
        "image": "It makes an image: uint8 pixels.",
    }
    if (signature.get("text") or {}).get("goes_on"):
        return (
            "It is a language model: `label` is the token that it takes for the likeliest after a "
            "text, and `probabilities` has the probability of each token."
        )
    return said.get(signature["answer"], "It answers with numbers.")


def _say_lengths(signature: Mapping[str, Any]) -> list[str]:
    """Says how short texts may be for the ONNX program; nothing where it takes one length alone."""
    length = signature["programs"]["onnx"].get("length", {})
    if "least" not in length:
        return []
    long = [f"`{f}`" for part, f in signature["text"]["inputs"].items() if part != "length"]
    return [
        f"Of {' and '.join(long)} this program takes any {length['least']} to {length['most']} "
        "places: padding that no text of a batch needs can be cut off, which is faster."
    ]


def _table(head: str, arrays: Mapping[str, Any]) -> str:
    rows = [f"| `{k}` | {d['dtype']} | {d['shape']} |" for k, d in sorted(arrays.items())]
    return "\n".join([f"| {head} | dtype | shape of one |", "|---|---|---|", *rows])


def _fenced(language: str, code: str) -> str:
    return f"```{language}\n{code}```"


def _onnx_code(
    program: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]], shown: str
) -> str:
    lines = [
        f'    {json.dumps(program["inputs"][k])}: np.fromfile(file, "{p["dtype"]}", '
        f"{_count(p)}, offset={p['begin']}).reshape({_python_shape(p['shape'])}),"
        for k, p in inputs.items()
    ]
    names = [program["outputs"][k] for k in sorted(program["outputs"])]
    return (
        "import numpy as np\n"
        "import onnxruntime\n"
        "\n"
        f'file = "{EXAMPLES_FILE}"\n'
        "inputs = {\n" + "\n".join(lines) + "\n}\n"
        f'session = onnxruntime.InferenceSession("{ONNX}")\n'
        f"names = {json.dumps(names)}\n"
        "answers = dict(zip(names, session.run(names, inputs)))\n"
        f"print(answers[{json.dumps(program['outputs'][shown])}].tolist())\n"
    )


def _jax_code(
    program: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]], shown: str
) -> str:
    wide = 'jax.config.update("jax_enable_x64", True)\n' if program["x64"] else ""
    made = ", ".join(f"{json.dumps(k)}: examples[{json.dumps(f'inputs.{k}')}]" for k in inputs)
    return (
        f"{'import jax' + chr(10) if wide else ''}"
        "import jax.export\n"
        "from safetensors.numpy import load_file\n"
        "\n"
        f"{wide}"
        f'with open("{program["path"]}", "rb") as file:\n'
        "    program = jax.export.deserialize(bytearray(file.read()))\n"
        f'examples = load_file("{EXAMPLES_FILE}")\n'
        f"inputs = {{{made}}}\n"
        f'answers = jax.jit(program.call)(load_file("{WEIGHTS}"), inputs)\n'
        f"print(answers[{json.dumps(shown)}].tolist())\n"
    )


def _node_code(
    program: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]], shown: str
) -> str:
    lines = [
        f"  {json.dumps(program['inputs'][k])}: new ort.Tensor({json.dumps(p['dtype'])}, "
        f"new {_TYPED_ARRAYS[p['dtype']]}(bytes({p['begin']}, {p['end']})), "
        f"{list(p['shape'])}),"
        for k, p in inputs.items()
    ]
    return (
        'const fs = require("fs");\n'
        'const ort = require("onnxruntime-node");\n'
        "\n"
        f'const file = fs.readFileSync("{EXAMPLES_FILE}");\n'
        "const bytes = (from, to) => Uint8Array.from(file.subarray(from, to)).buffer;\n"
        "const inputs = {\n" + "\n".join(lines) + "\n};\n"
        f'ort.InferenceSession.create("{ONNX}")\n'
        "  .then((session) => session.run(inputs))\n"
        f"  .then((answers) => console.log(JSON.stringify(Array.from(answers"
        f"[{json.dumps(program['outputs'][shown])}].data, Number))));\n"
    )


def _count(place: Mapping[str, Any]) -> int:
    size = 1
    for n in place["shape"]:
        size *= n
    return size


def _python_shape(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))
