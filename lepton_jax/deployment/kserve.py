"""KServe: the server as the container of an InferenceService, which speaks its protocol v2."""

from typing import Any

from lepton_jax.deployment.kubernetes import container
from lepton_jax.deployment.request import Deployment


def build_inference_service(deployment: Deployment) -> dict[str, Any]:
    """Returns an InferenceService (serving.kserve.io/v1beta1) with a custom predictor.

    A claim that holds the bundle is named by STORAGE_URI, which KServe mounts at /mnt/models.
    """
    server = container(deployment)
    server["name"] = "kserve-container"
    server["ports"] = [{"containerPort": server["ports"][0]["containerPort"], "protocol": "TCP"}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = server[probe]["httpGet"]["path"]
        port = server["ports"][0]["containerPort"]
        server[probe] = {**server[probe], "httpGet": {"path": path, "port": port}}
    server["volumeMounts"] = server["volumeMounts"][:1]
    if deployment.mount:
        server["env"] = [{"name": "STORAGE_URI", "value": deployment.mount.uri}]
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": deployment.name,
            "annotations": {"lepton.bundle": deployment.identity},
        },
        "spec": {
            "predictor": {
                "minReplicas": deployment.replicas,
                "maxReplicas": deployment.most,
                "containers": [server],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
            }
        },
    }
