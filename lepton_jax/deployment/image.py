"""The image: a Dockerfile, the server's own source, and the bundle where it is baked in."""

import json
import shutil
from importlib import resources
from pathlib import Path

from lepton_jax.deployment.request import BUNDLE, PORT, Deployment

USER = 10001
"""Who the server runs as: nobody that the image knows."""


def format_dockerfile(deployment: Deployment) -> str:
    """Returns a Dockerfile: the server's wheel is built in a stage of its own, so that the image
    holds that wheel, what it needs, and the bundle.
    """
    baked = [] if deployment.mount else [f"COPY bundle {BUNDLE}"]
    wheel = "/wheels/*.whl" if deployment.onnx else '"$(echo /wheels/*.whl)[stablehlo]"'
    lines = [
        f"# {deployment.model}, {deployment.identity}",
        "FROM python:3.13-slim AS wheel",
        "COPY server /server",
        "RUN pip wheel --no-deps --wheel-dir /wheels /server",
        "",
        "FROM python:3.13-slim",
        "COPY --from=wheel /wheels /wheels",
        f"RUN pip install --no-cache-dir {wheel}",
        *baked,
        f"USER {USER}",
        f"EXPOSE {PORT}",
        'ENTRYPOINT ["lepton-serve"]',
        f"CMD {json.dumps(deployment.arguments)}",
    ]
    return "\n".join(lines) + "\n"


def copy_server(folder: Path) -> None:
    """Copies the server's source to a new folder, from which pip builds its wheel."""
    with resources.as_file(resources.files("lepton_jax.serving")) as source:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
