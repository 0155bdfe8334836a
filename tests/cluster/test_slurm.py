"""Jobs on a real Slurm: one machine, a partition `main` that jobs of `urgent` preempt."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.laws import assert_same_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ROOT.parent / "shared" / "slurm"
STATE = Path("/tmp/slurm-local")
STEPS = 1500
LONG = (
    "--config=configs/digits_cnn.py",
    "--config.model.features=(8, 16)",
    f"--config.train_for={STEPS} steps",
    "--config.checkpoint_every=40 steps",
    "--config.evaluate_every=100 steps",
    "--config.log_every=15 steps",
    "--config.ema=0.9",
)
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


@pytest.fixture(scope="module", autouse=True)
def slurm() -> Iterator[None]:
    pytest.importorskip("submitit")
    if not shutil.which("srun") or not (SCRIPTS / "slurm_up.sh").exists():
        pytest.skip("needs Slurm (srun) and ../shared/slurm/slurm_up.sh to bring it up")
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(STATE / "slurm.conf"))
    patch.setenv("XLA_FLAGS", "")
    was_up = subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0
    up = subprocess.run([SCRIPTS / "slurm_up.sh", STATE], capture_output=True, text=True)
    assert up.returncode == 0, up.stderr
    yield
    if not was_up:
        subprocess.run([SCRIPTS / "slurm_down.sh", STATE], check=True)
    patch.undo()


class Job:
    """A submitted job, cancelled when its test ends."""

    def __init__(self, id: str, logs: Path):
        self.id, self.logs = id, logs

    def facts(self) -> dict[str, str]:
        show = ["scontrol", "show", "job", self.id]
        text = subprocess.run(show, capture_output=True, text=True, check=True).stdout
        return dict(re.findall(r"(\w+)=(\S+)", text))

    def log(self) -> str:
        return "\n".join(p.read_text() for p in sorted(self.logs.glob(f"{self.id}_*_log.*")))

    def wait_until(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"{self.facts()}\n{self.log()}"
            time.sleep(0.2)

    def end(self, seconds: float = 240) -> dict[str, str]:
        self.wait_until(lambda: self.facts()["JobState"] in ENDED, seconds)
        return self.facts()


Submit = Callable[..., Job]


@pytest.fixture
def submit(tmp_path: Path) -> Iterator[Submit]:
    jobs = []

    def hand_over(*command: str, flags: tuple[str, ...] = ()) -> Job:
        own = ("--executor=slurm", "--json", f"--logs={tmp_path}/logs/%j", *flags)
        done = launch("submit", *own, *command)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        jobs.append(Job(said["job"], Path(said["logs"])))
        return jobs[-1]

    yield hand_over
    for job in jobs:
        subprocess.run(["scancel", job.id], check=False, capture_output=True)


def launch(*words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "launch.py", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)


def has_checkpoint(workdir: Path) -> bool:
    return any(p.name.isdigit() for p in (workdir / "checkpoints").glob("*"))


ALL_CPUS = (f"--cpus_per_task={os.cpu_count()}",)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long run, in the same allocation, left alone."""
    folder = tmp_path_factory.mktemp("unbroken")
    flags = ("--executor=slurm", "--json", f"--logs={folder}/logs/%j", *ALL_CPUS)
    done = launch("submit", *flags, "train", *LONG, f"--workdir={folder}/w")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    facts = Job(said["job"], Path(said["logs"])).end()
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0")
    return folder / "w"


def test_a_job_trains_to_its_end(submit: Submit, tmp_path: Path):
    w = tmp_path / "w"
    job = submit("train", "--config=configs/digits_cnn.py:tiny", f"--workdir={w}")
    facts = job.end()
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0")
    assert "Trained 3 steps" in job.log()
    results: dict[str, Any] = json.loads((w / "results.json").read_text())
    assert 0 <= results["test"]["accuracy"] <= 1
    assert json.loads((w / "provenance.json").read_text())


def test_two_tasks_are_two_processes_of_one_run(submit: Submit, tmp_path: Path):
    w = tmp_path / "w"
    command = ("train", "--config=configs/digits_cnn.py:tiny", "--config.strategy.name=mesh")
    job = submit(*command, f"--workdir={w}", flags=("--tasks_per_node=2",))
    facts = job.end()
    assert facts["JobState"] == "COMPLETED", job.log()
    for task in (0, 1):
        assert "Trained 3 steps" in (job.logs / f"{job.id}_{task}_log.out").read_text()
    rows = [json.loads(line) for line in (w / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "train/loss" in r] == [3]  # written once


def test_a_preempted_job_goes_on_and_ends_with_the_same_bytes(
    submit: Submit, tmp_path: Path, unbroken: Path
):
    w = tmp_path / "w"
    job = submit("train", *LONG, f"--workdir={w}", flags=ALL_CPUS)
    job.wait_until(lambda: has_checkpoint(w), 120)
    urgent = ["sbatch", "--partition=urgent", f"--cpus-per-task={os.cpu_count()}", "--wrap=sleep 3"]
    subprocess.run([*urgent, "--output=/dev/null"], check=True, capture_output=True)
    facts = job.end()
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), job.log()
    assert "going on from step" in job.log()
    assert_same_run(unbroken, w, STEPS)


def test_a_preempted_job_of_two_processes_ends_with_the_same_bytes(submit: Submit, tmp_path: Path):
    steps, flags = 400, ("--tasks_per_node=2",)
    short = [flag.replace(f"{STEPS} steps", f"{steps} steps") for flag in LONG]
    command = ["train", *short, "--config.strategy.name=pmap"]
    alone, w = tmp_path / "alone", tmp_path / "w"
    facts = submit(*command, f"--workdir={alone}", flags=flags).end(seconds=600)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "0")
    job = submit(*command, f"--workdir={w}", flags=flags)
    job.wait_until(lambda: has_checkpoint(w), 300)
    urgent = ["sbatch", "--partition=urgent", f"--cpus-per-task={os.cpu_count()}", "--wrap=sleep 3"]
    subprocess.run([*urgent, "--output=/dev/null"], check=True, capture_output=True)
    facts = job.end(seconds=600)
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), job.log()
    assert "going on from step" in job.log()
    assert_same_run(alone, w, steps)


def test_before_its_time_limit_a_job_has_itself_requeued(
    submit: Submit, tmp_path: Path, unbroken: Path
):
    w = tmp_path / "w"
    job = submit("train", *LONG, f"--workdir={w}", flags=(*ALL_CPUS, "--time=60"))
    job.wait_until(lambda: has_checkpoint(w), 120)
    # The signal that Slurm sends two minutes before the limit, sent now.
    subprocess.run(["scancel", f"--signal={signal.SIGUSR2.name[3:]}", job.id], check=True)
    facts = job.end()
    assert (facts["JobState"], facts["Restarts"]) == ("COMPLETED", "1"), job.log()
    assert "Stopped at step" in job.log()
    assert "requeued" in job.log()
    assert_same_run(unbroken, w, STEPS)


def test_an_experiment_as_a_job_array_measures_what_one_process_does(tmp_path: Path):
    flags = (
        *("ablate", "--config=configs/digits_cnn.py:tiny", "--seeds=2", "--pack=serial"),
        "--vary=model.hidden=16,32",
    )
    found = []
    for name, executor in (("a", ()), ("b", ("--executor=slurm", "--workers=2"))):
        done = launch(*flags, *executor, f"--workdir={tmp_path}/{name}", seconds=600)
        assert done.returncode == 0, done.stderr
        trials = sorted((tmp_path / name / "trials").iterdir())
        found.append({t.name: (t / "metrics.jsonl").read_text() for t in trials})
    assert len(found[0]) == 4
    assert found[0] == found[1]


def test_a_cancelled_job_stays_cancelled(submit: Submit, tmp_path: Path):
    w = tmp_path / "w"
    job = submit("train", *LONG, f"--workdir={w}")
    job.wait_until(lambda: has_checkpoint(w), 120)
    subprocess.run(["scancel", job.id], check=True)
    job.wait_until(lambda: "not requeued from here" in job.log(), 60)
    time.sleep(15)  # longer than Slurm waits before it kills
    facts = job.facts()
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0")


def test_a_job_whose_work_fails_is_failed_with_its_code(submit: Submit, tmp_path: Path):
    command = ("train", "--config=configs/digits_cnn.py:tiny", f"--workdir={tmp_path}/w")
    assert submit(*command).end()["JobState"] == "COMPLETED"
    another = submit(*command, "--config.seed=5")  # cannot be known before it runs
    facts = another.end()
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "2:0")
    assert (facts["Restarts"], "another config" in another.log()) == ("0", True)
    diverges = "--config.optimizer.learning_rate=1e38"
    failing = submit(*command[:2], diverges, f"--workdir={tmp_path}/v")
    facts = failing.end()
    assert (facts["JobState"], facts["ExitCode"]) == ("FAILED", "1:0")
    assert "not finite" in failing.log()


@pytest.mark.parametrize(
    ("flag", "said"),
    [("--partition=nowhere", "invalid partition"), ("--time=3", "at least 5 minutes")],
)
def test_what_slurm_cannot_run_is_refused_at_once(tmp_path: Path, flag: str, said: str):
    command = ("train", "--config=configs/digits_cnn.py:tiny", f"--workdir={tmp_path}/w")
    done = launch("submit", "--executor=slurm", flag, f"--logs={tmp_path}/logs/%j", *command)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_config_error_is_found_before_a_job_is_submitted(tmp_path: Path):
    before = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout
    command = (
        "train",
        "--config=configs/digits_cnn.py",
        "--config.seeed=1",
        f"--workdir={tmp_path}",
    )
    done = launch("submit", "--executor=slurm", f"--logs={tmp_path}/logs/%j", *command)
    assert done.returncode == 2
    assert "did you mean 'seed'?" in done.stderr
    assert not (tmp_path / "logs").exists()
    after = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout
    assert len(after.splitlines()) == len(before.splitlines())
