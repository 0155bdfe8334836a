import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.tracking import claim as claim_module
from lepton_jax.tracking.claim import claim, read_owner

HOLDER = """
import sys, time
from lepton_jax.tracking.claim import claim
with claim(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A live process that holds `tmp_path / 'run'`."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.wait()


def test_a_second_live_process_is_refused_with_host_pid_and_since(tmp_path, holder):
    with (
        pytest.raises(UserError, match=f"host {socket.gethostname()}, pid {holder.pid}, since 20"),
        claim(tmp_path / "run"),
    ):
        pass
    owner = read_owner(tmp_path / "run")
    assert owner is not None
    assert owner.pid == holder.pid  # the refused one has not disturbed it
    assert owner.lives()


def test_the_same_process_is_refused_too(tmp_path):
    with (
        claim(tmp_path),
        pytest.raises(UserError, match=f"pid {os.getpid()}"),
        claim(tmp_path),
    ):
        pass


def test_a_killed_owner_is_taken_over(tmp_path, holder):
    (tmp_path / "run" / ".metrics.jsonl.01234567.part").write_text("half")
    holder.send_signal(signal.SIGKILL)
    # Not waited for: a zombie is dead as well.
    time.sleep(0.2)
    with claim(tmp_path / "run") as dead:
        assert dead is not None
        assert dead.pid == holder.pid
        owner = read_owner(tmp_path / "run")
        assert owner is not None
        assert owner.pid == os.getpid()
        assert os.listdir(tmp_path / "run") == ["owner.json"]
    assert os.listdir(tmp_path / "run") == []


def test_a_released_workdir_is_free(tmp_path):
    for _ in range(2):
        with claim(tmp_path / "new" / "run") as dead:
            assert dead is None
    with pytest.raises(KeyError), claim(tmp_path):
        raise KeyError
    assert read_owner(tmp_path) is None


def left_behind(workdir, **changes) -> None:
    with claim(workdir):
        owner = read_owner(workdir)
    assert owner is not None
    files.write_json(files.join_path(workdir, "owner.json"), asdict(replace(owner, **changes)))


def test_a_reused_pid_is_not_the_owner(tmp_path):
    left_behind(tmp_path, started="1")  # this pid lives, but began later
    with claim(tmp_path) as dead:
        assert dead is not None


def test_a_gone_pid_is_dead_however_fresh_its_heartbeat(tmp_path):
    left_behind(tmp_path, pid=2**22 + 1, heartbeat=time.time())
    with claim(tmp_path) as dead:
        assert dead is not None


ELSEWHERE = [{"host": "other"}, {"boot": "other"}]


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_owner_on_another_machine_that_is_silent_for_long_is_taken_over_at_once(
    tmp_path, monkeypatch, elsewhere
):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    left_behind(tmp_path, heartbeat=time.time() - 121, **elsewhere)
    with claim(tmp_path) as dead:
        assert dead is not None


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
@pytest.mark.parametrize("ahead", [-0.1, 0.0, 1e6, float(2**40)])
def test_owner_on_another_machine_is_taken_over_when_it_stays_silent(
    tmp_path, monkeypatch, capsys, elsewhere, ahead
):
    """Also one whose clock is wrong by days: it is its silence here that counts."""
    monkeypatch.setattr(claim_module, "SILENCE", 0.2)
    monkeypatch.setattr(claim_module, "POLL", 0.02)
    left_behind(tmp_path, heartbeat=time.time() + ahead, **elsewhere)
    with claim(tmp_path) as dead:
        assert dead is not None
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is held by host" in said


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_owner_on_another_machine_that_gives_a_sign_is_no_users_mistake(
    tmp_path, monkeypatch, elsewhere
):
    monkeypatch.setattr(claim_module, "POLL", 0.02)
    left_behind(tmp_path, heartbeat=time.time() - 100, **elsewhere)

    def live() -> None:
        owner = json.loads((tmp_path / "owner.json").read_text())
        files.write_json(tmp_path / "owner.json", {**owner, "heartbeat": time.time()})

    thread = threading.Timer(0.2, live)
    thread.start()
    with pytest.raises(WorkError, match="in use by another process: host"), claim(tmp_path):
        pass
    thread.join()


def test_owner_on_another_machine_that_ends_while_it_is_waited_for_leaves_the_workdir(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(claim_module, "POLL", 0.02)
    left_behind(tmp_path, heartbeat=time.time(), host="other")
    thread = threading.Timer(0.2, (tmp_path / "owner.json").unlink)
    thread.start()
    with claim(tmp_path) as dead:
        assert dead is None
    thread.join()


def test_the_owner_gives_signs_of_life(tmp_path, monkeypatch):
    monkeypatch.setattr(claim_module, "HEARTBEAT", 0.05)
    with claim(tmp_path):
        first = read_owner(tmp_path)
        time.sleep(0.5)
        later = read_owner(tmp_path)
        assert first is not None
        assert later is not None
        assert later.heartbeat > first.heartbeat
        assert later == replace(first, heartbeat=later.heartbeat)


def test_an_owner_that_was_taken_over_leaves_its_successor_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(claim_module, "HEARTBEAT", 0.05)
    with claim(tmp_path):
        left = read_owner(tmp_path)
        assert left is not None
        files.write_json(tmp_path / "owner.json", asdict(replace(left, token="successor")))
        time.sleep(0.3)
    owner = read_owner(tmp_path)
    assert owner is not None
    assert owner.token == "successor"


RACER = """
import sys, time
from lepton_jax.errors import UserError
from lepton_jax.tracking.claim import claim
print("ready", flush=True)
sys.stdin.readline()
try:
    with claim(sys.argv[1]):
        print("won", flush=True)
        sys.stdin.readline()
except UserError:
    print("refused", flush=True)
"""


def test_of_many_that_take_over_at_once_one_wins(tmp_path):
    for _ in range(3):
        left_behind(tmp_path, pid=2**22 + 1)
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(6)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
        for racer in racers:
            racer.communicate("\n")
        assert sorted(answers) == ["refused"] * 5 + ["won"]


def test_in_a_bucket_of_two_at_once_one_wins(bucket, monkeypatch):
    monkeypatch.setattr(claim_module, "SETTLE", 0.3)
    inside, refused, looked = [], [], set()
    everyone, look = threading.Barrier(3), claim_module.read_owner

    def owner_of_at_once(workdir):
        owner = look(workdir)
        if threading.get_ident() not in looked:
            looked.add(threading.get_ident())
            everyone.wait()  # all have seen that it is free
        return owner

    monkeypatch.setattr(claim_module, "read_owner", owner_of_at_once)

    def compete() -> None:
        try:
            with claim("gs://b/run"):
                inside.append(threading.get_ident())
                time.sleep(0.8)
        except UserError as e:
            refused.append(str(e))

    threads = [threading.Thread(target=compete) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 1
    assert len(refused) == 2
    assert "gs://b/run is in use" in refused[0]
    assert bucket.objects == {}


def test_a_damaged_owner_is_named(tmp_path):
    (tmp_path / "owner.json").write_text("{}")
    with pytest.raises(WorkError, match=r"owner\.json is damaged"), claim(tmp_path):
        pass


def test_a_workdir_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create"), claim(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", None])
def test_a_run_ends_well_whatever_became_of_its_owner_file(tmp_path, content):
    with claim(tmp_path):
        if content is None:
            shutil.rmtree(tmp_path)
        else:
            (tmp_path / "owner.json").write_bytes(content)
