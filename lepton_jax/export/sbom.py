"""The sbom.json of a bundle: what it is made of, as CycloneDX 1.6 says it, with a model card."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lepton_jax.export.exportable import Exportable
from lepton_jax.export.performance import Performance
from lepton_jax.io.files import json_bytes
from lepton_jax.serving.loader import ONNX, WEIGHTS
from lepton_jax.version import __version__

_RUNS_JAX = ("flatbuffers", "jax", "jaxlib", "ml_dtypes", "numpy", "opt_einsum", "safetensors")
_RUNS_ONNX = ("numpy", "onnxruntime")
_APPROACHES = {
    "class": "supervised",
    "objects": "supervised",
    "text": "supervised",
    "image": "unsupervised",
}
"""By kind of answer, in CycloneDX's words."""


def write_sbom(
    title: str,
    model: Exportable,
    signature: Mapping[str, Any],
    lineage: Mapping[str, Any],
    performances: Sequence[Performance],
    files: Mapping[str, bytes],
) -> bytes:
    """Returns sbom.json; the same bundle gives the same bytes.

    Args:
      title: what the model is, in a few words.
      files: the other files of the bundle by name, of which the programs and weights are listed.
    """
    config = lineage["config"]
    data = {
        "bom-ref": "data",
        "type": "data",
        "name": str(config["data"]["source"]["name"]),
        "description": str(model.training.get("data") or "not described"),
        "version": model.data_fingerprint,
        "data": [{"type": "dataset", "name": "the data it was trained on"}],
    }
    described = {
        "bom-ref": "model",
        "type": "machine-learning-model",
        "name": title,
        "version": f"{lineage['config_fingerprint']}-{model.step}",
        "description": f"step {model.step} of a run of lepton_jax",
        "modelCard": _model_card(config, signature, performances),
    }
    parts = [_file(name, content) for name, content in sorted(files.items()) if _is_model(name)]
    libraries = _libraries(signature, lineage)
    needed = [c["bom-ref"] for c in libraries if c["scope"] != "excluded"]
    refs = [*(c["bom-ref"] for c in parts), "data", *needed]
    seed = json.dumps([described, parts, libraries, lineage["exported"]], sort_keys=True)
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, seed).urn,
        "version": 1,
        "metadata": {
            "timestamp": f"{lineage['exported']}T00:00:00Z",
            "tools": {
                "components": [
                    {"type": "application", "name": "lepton_jax", "version": __version__}
                ]
            },
            "component": described,
        },
        "components": [*parts, data, *libraries],
        "dependencies": [{"ref": "model", "dependsOn": sorted(refs)}],
    }
    return json_bytes(bom)


def _model_card(
    config: Mapping[str, Any], signature: Mapping[str, Any], performances: Sequence[Performance]
) -> dict[str, Any]:
    goes_on = (signature.get("text") or {}).get("goes_on")
    approach = "self-supervised" if goes_on else _APPROACHES.get(signature["answer"])
    return {
        "modelParameters": {
            **({"approach": {"type": approach}} if approach else {}),
            "task": str((config.get("task") or {}).get("name", signature["answer"])),
            "modelArchitecture": str((config.get("model") or {}).get("name", "model")),
            "datasets": [{"ref": "data"}],
            "inputs": [{"format": _format(k, d)} for k, d in sorted(signature["inputs"].items())],
            "outputs": [{"format": _format(k, d)} for k, d in sorted(signature["outputs"].items())],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(p) for p in performances]},
        "considerations": {
            "useCases": ["inputs that are like the examples of its test split"],
            "technicalLimitations": ["measured on its own test split alone: see model_card.md"],
        },
    }


def _metric(performance: Performance) -> dict[str, Any]:
    of_class = f", class {performance.class_name}" if performance.class_name else ""
    said: dict[str, Any] = {
        "type": performance.metric,
        "value": "not a number" if performance.value is None else f"{performance.value:.6g}",
        "slice": performance.split + of_class,
    }
    if performance.interval is not None:
        low, high = performance.interval
        said["confidenceInterval"] = {"lowerBound": f"{low:.6g}", "upperBound": f"{high:.6g}"}
    return said


def _format(name: str, declared: Mapping[str, Any]) -> str:
    return f"{name}: {declared['dtype']} {['batch', *declared['shape']]}".replace("'", "")


def _file(name: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {
        "bom-ref": f"file:{name}",
        "type": "file",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _is_model(name: str) -> bool:
    return name in (ONNX, WEIGHTS, "tokenizer.json") or name.startswith("programs/")


def _libraries(signature: Mapping[str, Any], lineage: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the packages that run the programs, as they are installed here; and those that the
    model was trained with, which a receiver does not need.
    """
    runs = {*_RUNS_JAX, *(_RUNS_ONNX if "path" in signature["programs"]["onnx"] else ())}
    runs |= {"pillow"} if signature["decoding"] else set()
    runs |= {"tokenizers"} if signature.get("text") else set()
    found = {}
    for name in runs:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    made = [_library(name, number, "required") for name, number in sorted(found.items())]
    trained = lineage.get("packages") or {}
    return made + [
        _library(name, number, "excluded")
        for name, number in sorted(trained.items())
        if found.get(name) != number
    ]


def _library(name: str, number: str, scope: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name.replace('_', '-').lower()}@{number}"
    said = {"bom-ref": purl, "type": "library", "name": name, "version": number, "purl": purl}
    return {**said, "scope": scope}
