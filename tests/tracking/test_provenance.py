import json
import os
import subprocess
import sys

import pytest

from lepton_jax.tracking import provenance


def git(folder, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-b", "trunk")
    (folder / "a.py").write_text("x = 1\n")
    (folder / ".gitignore").write_text("ignored\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


def test_a_clean_repository_is_its_commit(repository):
    state = provenance.git_state(repository)
    assert state == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "branch": "trunk",
        "diff": "",
        "diff_sha256": None,
        "untracked": [],
    }


def test_uncommitted_work_can_be_applied_again(repository, tmp_path):
    (repository / "a.py").write_text("x = 2\n")
    (repository / "new.py").write_text("")
    (repository / "ignored").write_text("")
    below = repository / "sub" / "deeper"
    below.mkdir(parents=True)
    state = provenance.git_state(below)  # from anywhere inside it
    assert state is not None
    assert state["untracked"] == ["new.py"]
    assert len(state["diff_sha256"]) == 64
    git(tmp_path, "clone", "repository", "clone")
    (tmp_path / "patch").write_text(state["diff"])
    git(tmp_path / "clone", "apply", str(tmp_path / "patch"))
    assert (tmp_path / "clone" / "a.py").read_text() == "x = 2\n"


def test_a_long_diff_is_cut_and_its_digest_is_of_all_of_it(repository, monkeypatch):
    monkeypatch.setattr(provenance, "LONGEST_DIFF", 50)
    (repository / "a.py").write_text("x = 2\n" * 100)
    one = provenance.git_state(repository)
    (repository / "a.py").write_text("x = 2\n" * 99)
    other = provenance.git_state(repository)
    assert one is not None
    assert other is not None
    assert len(one["diff"]) == len(other["diff"]) == 50
    assert one["diff_sha256"] != other["diff_sha256"]


def test_a_repository_without_a_commit_and_a_detached_head(repository, tmp_path):
    git(repository, "checkout", "--detach")
    state = provenance.git_state(repository)
    assert state is not None
    assert state["branch"] is None
    (tmp_path / "empty").mkdir()
    git(tmp_path / "empty", "init")
    state = provenance.git_state(tmp_path / "empty")
    assert state is not None
    assert state["commit"] is None
    assert state["diff"] == ""


def test_outside_a_repository_and_without_git(tmp_path, monkeypatch):
    assert provenance.git_state(tmp_path) is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no git to be found
    found = provenance.collect_provenance(["launch.py", "train"])
    assert found["code"] is None
    assert found["harness_code"] is None
    assert found["packages"]["numpy"]


def test_the_harness_is_told_apart_from_the_project_around_the_run(repository, monkeypatch):
    monkeypatch.chdir(repository)
    found = provenance.collect_provenance([])
    assert found["code"]["commit"] == git(repository, "rev-parse", "HEAD")
    assert found["harness_code"] != found["code"]
    # A repository that merely contains the installed package says nothing of its code.
    assert provenance.git_state(repository, tracking="elsewhere.py") is None


def test_nothing_of_the_environment_but_what_changes_numbers(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t-value")
    monkeypatch.setenv("MY_TOKEN", "s3cr3t-value")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    found = provenance.collect_provenance(["launch.py", "train", "--workdir=a b"])
    text = json.dumps(found)
    assert "s3cr3t" not in text
    assert found["variables"]["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
    assert set(found["variables"]) <= set(provenance.VARIABLES)
    assert found["command"] == "launch.py train '--workdir=a b'"


def test_visible_cpus_are_those_of_this_process():
    script = (
        "import os\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from lepton_jax.tracking import provenance\n"
        "print(provenance.count_visible_cpus())"
    )
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no CPU affinity")
    assert subprocess.check_output([sys.executable, "-c", script]).strip() == b"1"


def test_jax_is_not_imported_for_the_sake_of_it():
    script = (
        "import sys\n"
        "from lepton_jax.tracking import provenance\n"
        "found = provenance.collect_provenance([])\n"
        "assert 'jax' not in sys.modules and found['devices'] is None\n"
        "import jax\n"
        "print(provenance.collect_provenance([])['devices'])"
    )
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    out = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    assert out.strip() == "{'platform': 'cpu', 'kind': 'cpu', 'count': 3, 'processes': 1}"
