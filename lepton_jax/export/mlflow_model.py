"""Makes a bundle a model of MLflow as well, by files that are data.

MLflow's own `onnx` flavour runs `model.onnx`, so `mlflow.pyfunc.load_model` and `mlflow models
serve` need neither lepton_jax nor code or pickles of the bundle.
"""

import json
from collections.abc import Mapping
from typing import Any

import onnx

REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "pandas")
"""What `mlflow models serve` installs beside Python."""


def describe_for_mlflow(signature: Mapping[str, Any], date: str) -> dict[str, bytes]:
    """Returns MLflow's files by name: `MLmodel`, and the environment that it names.

    Args:
      signature: what signature.json holds, of a bundle that has an ONNX program.
      date: the day of export, `2026-11-29`.
    """
    program = signature["programs"]["onnx"]
    environment = {"dependencies": [{"requirements": "requirements.txt"}], "python": "3.11"}
    model = {
        "flavors": {
            "onnx": {
                "code": None,
                "data": program["path"],
                "onnx_version": onnx.__version__,
                "providers": ["CPUExecutionProvider"],
            },
            "python_function": {
                "data": program["path"],
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.onnx",
                "python_version": environment["python"],
            },
        },
        "signature": {
            side: json.dumps([_tensor(program[side][k], v) for k, v in signature[side].items()])
            for side in ("inputs", "outputs")
        },
        "utc_time_created": f"{date} 00:00:00.000000",
    }
    return {
        "MLmodel": _yaml(model),
        "python_env.yaml": _yaml(environment),
        "requirements.txt": "".join(f"{name}\n" for name in REQUIREMENTS).encode(),
    }


def _tensor(name: str, field: Mapping[str, Any]) -> dict[str, Any]:
    shape = {"dtype": field["dtype"], "shape": [-1, *field["shape"]]}
    return {"name": name, "tensor-spec": shape, "type": "tensor"}


def _yaml(value: Any) -> bytes:
    """Writes YAML as JSON, which is a part of it."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
