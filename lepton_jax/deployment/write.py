"""Writes all that a cluster needs to serve a bundle into one folder; touches no cluster."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.deployment.dashboard import build_dashboard
from lepton_jax.deployment.image import copy_server, format_dockerfile
from lepton_jax.deployment.kserve import build_inference_service
from lepton_jax.deployment.kubernetes import build_manifests
from lepton_jax.deployment.request import Deployment
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.atomic import replace_folder
from lepton_jax.io.files import json_bytes

KUBERNETES, KSERVE, DASHBOARD = "kubernetes.yaml", "kserve.yaml", "dashboard.json"


@dataclass(frozen=True)
class Deployed:
    """The documents of a deployment, and the folder that they were written to ('' for none)."""

    deployment: Deployment
    dockerfile: str
    kubernetes: list[dict[str, Any]]
    kserve: dict[str, Any]
    path: str

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.deployment.model,
            "id": self.deployment.identity,
            "path": self.path,
            "dockerfile": self.dockerfile,
            "kubernetes": self.kubernetes,
            "kserve": self.kserve,
        }

    def __str__(self) -> str:
        d = self.deployment
        if not self.path:
            parts = {"Dockerfile": self.dockerfile, **self.documents()}
            shown = [f"# {name}\n{text.rstrip()}" for name, text in parts.items()]
            return "\n\n".join([*shown, "Nothing was written; for that give --out=DIR"])
        return (
            f"Wrote {self.path}: a Dockerfile with the server"
            f"{'' if d.mount else ' and the bundle'}, {KUBERNETES}, {KSERVE} and {DASHBOARD}; "
            "nothing has been started.\n"
            f"Build it: docker build -t {d.image} {self.path} && docker push {d.image}\n"
            f"Start it: kubectl apply -f {self.path}/{KUBERNETES}\n"
            f"      or: kubectl apply -f {self.path}/{KSERVE}, where KServe runs\n"
            f"Watch it: import {self.path}/{DASHBOARD} into Grafana"
        )

    def documents(self) -> dict[str, str]:
        """Returns the manifests as `kubectl` reads them, by file."""
        import yaml

        return {
            KUBERNETES: yaml.safe_dump_all(self.kubernetes, sort_keys=False),
            KSERVE: yaml.safe_dump(self.kserve, sort_keys=False),
        }


def write_deployment(deployment: Deployment, bundle: Path, out: str) -> Deployed:
    """Builds the documents of a deployment, and writes them to the folder `out`.

    Args:
      bundle: the bundle's folder, which is copied beside the Dockerfile unless it is mounted.
      out: '' for none.

    Raises:
      UserError: when `out` holds something else than a deployment, or cannot be written.
      WorkError: when the disk is full.
    """
    documents = Deployed(
        deployment,
        format_dockerfile(deployment),
        build_manifests(deployment),
        build_inference_service(deployment),
        out,
    )
    if not out:
        return documents
    target = Path(out)
    if target.exists() and not (target / KSERVE).is_file() and any(target.iterdir()):
        raise UserError(
            f"deploy: --out={out} holds something else; give a folder that does not exist"
        )
    try:
        with replace_folder(target) as folder:
            folder.mkdir()
            (folder / "Dockerfile").write_text(documents.dockerfile)
            for name, text in documents.documents().items():
                (folder / name).write_text(text)
            (folder / DASHBOARD).write_bytes(json_bytes(build_dashboard(deployment.model)))
            copy_server(folder / "server")
            if deployment.mount is None:
                shutil.copytree(bundle, folder / "bundle")
    except (PermissionError, NotADirectoryError, FileExistsError) as e:
        raise UserError(f"cannot write --out={out}: {e.strerror}") from None
    except OSError as e:
        raise WorkError(f"cannot write --out={out}: {e.strerror}") from None
    return documents
