"""`submit` before anything leaves the machine: what it refuses, and the JobSet it writes."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from lepton_jax import api
from lepton_jax.cli import run
from lepton_jax.cli.table import Commands
from lepton_jax.cluster import gke, slurm
from lepton_jax.cluster.submit import CommandLine, submit_command
from lepton_jax.commands import COMMANDS, worker
from lepton_jax.errors import UserError

TINY = "--config=configs/digits_cnn.py:tiny"
GKE = {"executor": "gke", "topology": "v5e-16", "image": "repo/lepton:1"}
TRAIN = ["train", TINY, "--config.seed=3", "--workdir=gs://bucket/runs/Digits_1"]


def manifest(command: list[str] = TRAIN, **flags: Any) -> dict[str, Any]:
    return api.submit(command, **{**GKE, **flags}).as_json()["jobset"]


def job_of(jobset: dict[str, Any]) -> dict[str, Any]:
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]


@pytest.mark.parametrize(
    ("command", "flags", "said"),
    [
        ([], GKE, "a command is missing"),
        (["submit", "train"], GKE, "a command is missing"),
        (["trian"], GKE, "no command 'trian' (did you mean 'train'?)"),
        (["train", TINY], GKE, "train needs a --workdir"),
        ([*TRAIN, "--fresh"], GKE, "no --fresh"),
        ([*TRAIN, "--workdr=x"], GKE, "no flag --workdr (did you mean --workdir=x?)"),
        ([*TRAIN, "--config.seeed=1"], GKE, "did you mean 'seed'?"),
        (TRAIN, {"executor": "slrum"}, "no executor 'slrum' (did you mean 'slurm'?)"),
        (TRAIN, {**GKE, "nodes": 2}, "--nodes is a flag of --executor=slurm"),
        (TRAIN, {"executor": "slurm", "image": "i"}, "--image is a flag of --executor=gke"),
        (TRAIN, {**GKE, "image": ""}, "--image is missing"),
        (TRAIN, {**GKE, "topology": ""}, "--topology is missing"),
        (TRAIN, {**GKE, "slices": 0}, "--slices: expected int > 0"),
        (TRAIN, {**GKE, "name": "1st"}, "begins with a letter"),
        (TRAIN, {**GKE, "out": "no/such/folder.yaml"}, "cannot write --out"),
        (["train", TINY, "--workdir=runs/w"], GKE, "pods share no disk"),
        (["export", "--workdir=gs://b/w", "--out=w"], GKE, "export --out=w: pods share no disk"),
    ],
)
def test_what_cannot_run_is_refused_before_it_goes(
    command: list[str], flags: dict[str, Any], said: str
):
    with pytest.raises(UserError) as refused:
        api.submit(command, **flags)
    assert said in str(refused.value)


@pytest.mark.parametrize("executor", ["slurm", "gke"])
def test_processes_are_the_executors_to_start(executor: str):
    requests = {"slurm": slurm.SlurmRequest(), "gke": gke.GkeRequest()}
    line = CommandLine(TRAIN, {"processes": 2}, worker.run_line, worker.POD_COMMAND)
    with pytest.raises(UserError, match="--tasks_per_node"):
        submit_command(line, executor, "", requests)


def test_without_slurm_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'submitit>=|no sbatch or srun"):
        api.submit(TRAIN, executor="slurm", logs=str(tmp_path / "%j"))


def test_the_command_line_ends_with_the_command(capsys: pytest.CaptureFixture[str]):
    own = ["--executor=gke", "--topology=v5e-16", "--image=i", "--json"]
    for separator in ([], ["--"]):
        code, _ = run.run_line(COMMANDS, ["submit", *own, *separator, *TRAIN])
        assert code == 0
        container = job_of(json.loads(capsys.readouterr().out)["jobset"])["template"]["spec"]
        assert container["containers"][0]["command"][3:] == TRAIN


@pytest.mark.parametrize(
    ("topology", "label", "shape", "hosts", "chips"),
    [
        ("v5e-1", "tpu-v5-lite-podslice", "1x1", 1, 1),
        ("v5e-8", "tpu-v5-lite-podslice", "2x4", 1, 8),
        ("v5e-16", "tpu-v5-lite-podslice", "4x4", 4, 4),
        ("v6e:16x16", "tpu-v6e-slice", "16x16", 64, 4),
        ("v4:2x2x1", "tpu-v4-podslice", "2x2x1", 1, 4),
        ("v5p:4x4x8", "tpu-v5p-slice", "4x4x8", 32, 4),
    ],
)
def test_a_topology_gives_hosts_and_chips(
    topology: str, label: str, shape: str, hosts: int, chips: int
):
    assert gke.parse_slice(topology) == gke.TpuSlice(label, shape, hosts, chips)
    job = job_of(manifest(topology=topology))
    assert job["parallelism"] == job["completions"] == hosts
    spec = job["template"]["spec"]
    assert spec["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": label,
        "cloud.google.com/gke-tpu-topology": shape,
    }
    assert spec["containers"][0]["resources"]["limits"] == {"google.com/tpu": str(chips)}


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        ("v5e", "expected one like v5e-16"),
        ("v5-16", "no TPU 'v5' (did you mean 'v5"),
        ("v5e-12", "v5e:2x4, v5e:4x4"),
        ("v5e:2x2x2", "v5e:2x4, v5e:4x4"),
        ("v5p-16", "give the shape"),
        ("v5p:3x3x3", "v5p:2x2x2"),
        ("v4:4x4", "v4:2x2x2"),
    ],
)
def test_a_topology_that_is_not_there_names_those_that_are(topology: str, said: str):
    with pytest.raises(UserError) as refused:
        gke.parse_slice(topology)
    assert said in str(refused.value)


def test_slices_are_jobs_and_the_name_is_one_that_kubernetes_takes():
    jobset = manifest(slices=2)
    assert jobset["metadata"]["name"] == "digits-1"
    assert jobset["spec"]["replicatedJobs"][0]["replicas"] == 2


def test_the_file_holds_the_manifest(tmp_path: Path):
    out = tmp_path / "digits.yaml"
    said = str(api.submit(TRAIN, **GKE, out=str(out)))
    assert f"kubectl apply -f {out}" in said
    assert yaml.safe_load(out.read_text()) == manifest()


@pytest.mark.parametrize("topology", ["v5e-8", "v5p:2x2x4"])
def test_every_field_is_one_that_kubernetes_and_jobset_know(topology: str):
    """Against types generated from their OpenAPI schemas, which drop what they do not know."""
    models = pytest.importorskip("kubeflow_trainer_api.models")
    jobset = manifest(topology=topology, slices=2)
    for port in job_of(jobset)["template"]["spec"]["containers"][0]["ports"]:
        port["protocol"] = "TCP"  # the default, which they fill in
    assert models.JobsetV1alpha2JobSet.from_dict(jobset).to_dict() == jobset
    typo = copy.deepcopy(jobset)
    job_of(typo)["paralellism"] = 4
    assert models.JobsetV1alpha2JobSet.from_dict(typo).to_dict() != typo


@pytest.mark.parametrize(("stopped", "code"), [(True, 143), (False, 0)])
def test_a_pod_that_was_stopped_does_not_count_as_done(
    monkeypatch: pytest.MonkeyPatch, stopped: bool, code: int
):
    result = type("Result", (), {"stopped": stopped})()
    commands = Commands({"": {"evaluate": ""}}, lambda name: lambda workdir: result)
    monkeypatch.setattr(worker, "COMMANDS", commands)
    assert worker.main(["evaluate", "--workdir=w"]) == code


def test_a_pods_mistake_keeps_its_exit_code(capsys: pytest.CaptureFixture[str]):
    assert worker.main(["evaluate", "--workdir=nowhere"]) == 2
    assert "nowhere holds no record" in capsys.readouterr().err
