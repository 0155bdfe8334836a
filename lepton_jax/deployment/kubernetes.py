"""Kubernetes: the server as a Deployment behind a Service, which scales with its load.

Replicas share nothing: any of them answers any request, and gives the same bytes.
"""

from typing import Any

from lepton_jax.deployment.request import BUNDLE, PORT, Deployment

DRAIN = 30
"""Seconds that a replica has to answer what it took, after SIGTERM."""

LEAVE = 5
"""Seconds before SIGTERM in which the Service stops sending requests to a replica."""


def build_manifests(deployment: Deployment) -> list[dict[str, Any]]:
    """Returns a Deployment, its Service, its autoscaler and its disruption budget."""
    name, labels = deployment.name, {"app.kubernetes.io/name": deployment.name}
    metadata = {"name": name, "labels": labels}
    template = {
        "metadata": {
            "labels": labels,
            "annotations": {
                "lepton.bundle": deployment.identity,
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(PORT),
                "prometheus.io/path": "/metrics",
            },
        },
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": DRAIN + LEAVE,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container(deployment)],
            **_volumes(deployment),
        },
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": deployment.replicas,
                "selector": {"matchLabels": labels},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": template,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {
                "selector": labels,
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "minReplicas": deployment.replicas,
                "maxReplicas": deployment.most,
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "Utilization", "averageUtilization": 70},
                        },
                    }
                ],
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        },
    ]


def container(deployment: Deployment) -> dict[str, Any]:
    """Returns the server's container: it runs as nobody, and writes nowhere but in /tmp."""
    ready = {"httpGet": {"path": "/v2/health/ready", "port": "http"}}
    live = {"httpGet": {"path": "/v2/health/live", "port": "http"}}
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    if deployment.mount:
        inside = {"subPath": deployment.mount.path} if deployment.mount.path else {}
        mounts.append({"name": "bundle", "mountPath": BUNDLE, "readOnly": True, **inside})
    return {
        "name": "server",
        "image": deployment.image,
        "args": deployment.arguments,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": "1", "memory": deployment.memory},
            "limits": {"memory": deployment.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": {**ready, "periodSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE}}},
        "volumeMounts": mounts,
    }


def _volumes(deployment: Deployment) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    if deployment.mount:
        claim = {"claimName": deployment.mount.claim, "readOnly": True}
        volumes.append({"name": "bundle", "persistentVolumeClaim": claim})
    return {"volumes": volumes}
