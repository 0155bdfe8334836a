"""Makes a bundle a model of MLflow as well, by files that are data.

MLflow's own `onnx` flavour runs `model.onnx`, so `mlflow.pyfunc.load_model` and `mlflow models
serve` need neither lepton_jax nor code or pickles of the bundle. MLflow would run code that these
files named, and install what they asked for: so they are refused unless they are as written here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lepton_jax.io.files import json_bytes

FILES = ("MLmodel", "python_env.yaml", "requirements.txt")
REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "pandas")
"""What `mlflow models serve` installs beside Python."""


def describe_for_mlflow(signature: Mapping[str, Any]) -> dict[str, bytes]:
    """Returns MLflow's files by name, for a bundle that has an ONNX program.

    Args:
      signature: what signature.json holds.
    """
    program = signature["programs"]["onnx"]
    date = signature["programs"]["stablehlo"]["exported"]
    environment = {"dependencies": [{"requirements": "requirements.txt"}], "python": "3.11"}
    model = {
        "flavors": {
            "onnx": {
                "code": None,
                "data": program["path"],
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
            side: json.dumps(
                [_tensor(program[side][k], v) for k, v in sorted(signature[side].items())]
            )
            for side in ("inputs", "outputs")
        },
        "utc_time_created": f"{date} 00:00:00.000000",
    }
    return {  # the YAML is written as JSON, which is a part of it
        "MLmodel": json_bytes(model),
        "python_env.yaml": json_bytes(environment),
        "requirements.txt": "".join(f"{name}\n" for name in REQUIREMENTS).encode(),
    }


def find_foreign(folder: Path, signature: Mapping[str, Any]) -> list[str]:
    """Lists MLflow's files in a bundle that are not as an export writes them."""
    there = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    has_program = "path" in signature["programs"].get("onnx", {})
    written = describe_for_mlflow(signature) if has_program else {}
    return [name for name, content in there.items() if content != written.get(name)]


def _tensor(name: str, field: Mapping[str, Any]) -> dict[str, Any]:
    shape = {"dtype": field["dtype"], "shape": [-1, *field["shape"]]}
    return {"name": name, "tensor-spec": shape, "type": "tensor"}
