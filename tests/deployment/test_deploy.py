"""What `deploy` writes: manifests that Kubernetes and KServe know, and an image that answers."""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from lepton_jax import api
from lepton_jax.deployment.request import BUNDLE
from lepton_jax.errors import UserError
from tests.graduation import verified_bundle
from tests.serving.running import run_bundles

IMAGE = "registry.lab/digits:3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return verified_bundle(tmp_path_factory)


def documents(bundle: Path, **more) -> dict:
    return api.deploy(bundle=str(bundle), image=IMAGE, dry_run=True, **more).as_json()


@pytest.mark.parametrize("mount", ["", "pvc://models/digits"])
def test_every_field_is_one_that_kubernetes_knows(bundle: Path, mount: str):
    """Against the JSON schemas of Kubernetes, which refuse what they do not know."""
    schemas = pytest.importorskip("kubernetes_validate")
    found = documents(bundle, name="digits", mount=mount)
    # The container of an InferenceService is one of a pod's.
    parts = ("containers", "volumes")
    pod = {k: v for k, v in found["kserve"]["spec"]["predictor"].items() if k in parts}
    kserve = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod}
    for document in [*found["kubernetes"], kserve]:
        schemas.validate(document, "1.34", strict=True)
    kserve["spec"]["containers"][0]["reedinessProbe"] = {}
    with pytest.raises(schemas.ValidationError, match="reedinessProbe"):
        schemas.validate(kserve, "1.34", strict=True)


def test_inference_service_has_the_fields_of_kserve(bundle: Path):
    models = pytest.importorskip("kserve.models")
    service = documents(bundle, name="digits")["kserve"]
    assert service.keys() <= {*models.V1beta1InferenceService.attribute_map.values()}
    predictor = {*models.V1beta1PredictorSpec.attribute_map.values()}
    assert service["spec"]["predictor"].keys() <= predictor


def test_service_reaches_what_the_deployment_starts(bundle: Path):
    """What ties the documents together: labels, ports, the bundle's place and its id."""
    found = documents(bundle, name="Digits v2", mount="pvc://models/digits")
    deployment, service, scaler, budget = found["kubernetes"]
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert budget["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"] == "digits-v2"
    (port,) = container["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert f"--port={port['containerPort']}" in container["args"]
    (mounted,) = [m for m in container["volumeMounts"] if m["mountPath"] == BUNDLE]
    assert (mounted["readOnly"], mounted["subPath"]) == (True, "digits")
    assert any(a.endswith(f"={BUNDLE}") for a in container["args"])
    assert pod["metadata"]["annotations"]["lepton.bundle"] == found["id"]


def test_out_holds_the_documents_and_the_bundle_itself(bundle: Path, tmp_path: Path):
    out = tmp_path / "deploy"
    said = str(api.deploy(bundle=str(bundle), name="digits", image=IMAGE, out=str(out)))
    assert f"docker build -t {IMAGE} {out}" in said
    found = documents(bundle, name="digits")
    assert list(yaml.safe_load_all((out / "kubernetes.yaml").read_text())) == found["kubernetes"]
    assert yaml.safe_load((out / "kserve.yaml").read_text()) == found["kserve"]
    assert (out / "Dockerfile").read_text() == found["dockerfile"]
    manifest = (bundle / "manifest.json").read_bytes()
    assert (out / "bundle/manifest.json").read_bytes() == manifest
    api.deploy(bundle=str(bundle), name="digits", image=IMAGE, out=str(out), mount="pvc://m")
    assert not (out / "bundle").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"image": ""}, "--image is missing"),
        ({"image": "No Image"}, "--image=No Image: expected one such as"),
        ({"mount": "/models"}, "--mount=/models: expected pvc://CLAIM/PATH"),
        ({"mount": "pvc://m/../../etc"}, "expected pvc://CLAIM/PATH"),
        ({"name": "7"}, "'7' is no name for Kubernetes"),
        ({"most": 1}, "--most=1 is below --replicas=2"),
        ({"dry_run": False}, "give --out=DIR, or --dry_run"),
    ],
)
def test_mistake_is_told(bundle: Path, flags: dict, said: str):
    with pytest.raises(UserError) as refused:
        api.deploy(**{"bundle": str(bundle), "image": IMAGE, "dry_run": True, **flags})
    assert said in str(refused.value)


def test_folder_of_something_else_is_left_alone(bundle: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        api.deploy(bundle=str(bundle), name="digits", image=IMAGE, out=str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_dashboard_asks_for_what_the_server_says(bundle: Path, tmp_path: Path):
    """Every name in its queries is one of /metrics, after one request."""
    out = tmp_path / "deploy"
    api.deploy(bundle=str(bundle), name="digits", image=IMAGE, out=str(out))
    dashboard = json.loads((out / "dashboard.json").read_text())
    queries = " ".join(t["expr"] for panel in dashboard["panels"] for t in panel["targets"])
    asked = set(re.findall(r"\b(?:lepton|process)_\w+", queries))
    with run_bundles(tmp_path, f"--bundle=digits={bundle}") as server:
        urllib.request.urlopen(f"{server.address}/v2/health/ready").read()
        said = urllib.request.urlopen(f"{server.address}/metrics").read().decode()
    known = set(re.findall(r"^# TYPE (\w+)", said, re.M))
    endings = ("", "_total", "_bucket", "_sum", "_count")
    assert len(asked) >= 9
    assert not {
        name for name in asked if not any(f"{k}{e}" == name for k in known for e in endings)
    }


@pytest.mark.slow
def test_image_answers_as_its_dockerfile_says(bundle: Path, tmp_path: Path):
    """Every line of the Dockerfile, with a venv in place of the image."""
    out, root = tmp_path / "deploy", tmp_path / "image"
    api.deploy(bundle=str(bundle), name="digits", image=IMAGE, out=str(out))
    for line in (out / "Dockerfile").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "COPY" and not rest.startswith("--from"):
            source, target = rest.split()
            shutil.copytree(out / source, root / target.lstrip("/"))
        elif word == "RUN":
            rest = rest.replace(" /", f" {root}/")
            program = rest.replace("pip ", f"{root}/bin/python -m pip --disable-pip-version-check ")
            if not (root / "bin").exists():
                subprocess.run([sys.executable, "-m", "venv", str(root)], check=True)
            subprocess.run(program, shell=True, check=True, cwd=root)
        elif word == "ENTRYPOINT":
            entry = json.loads(rest)
        elif word == "CMD":
            command = [w.replace(BUNDLE, f"{root}{BUNDLE}") for w in json.loads(rest)]
    with run_bundles(tmp_path, start=[str(root / "bin" / entry[0]), *command]) as server:
        said = json.load(urllib.request.urlopen(f"{server.address}/v2/models/digits"))
    assert said["inputs"][0]["datatype"] == "UINT8"
