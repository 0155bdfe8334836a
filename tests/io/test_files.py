import os
import subprocess
import sys
import tempfile

import pytest

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from tests.object_store import NotInABucket


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": [1, 0.1, "é"]})
    assert files.read_json(path) == {"x": [1, 0.1, "é"]}
    assert path.read_bytes().endswith(b"}\n")
    files.write_bytes(path, b"\x00\xff")
    assert files.read_bytes(path) == b"\x00\xff"
    assert files.list_folder(tmp_path) == os.listdir(tmp_path) == ["a.json"]


def test_a_new_file_has_the_permissions_that_open_would_give(tmp_path):
    files.write_text(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_without_its_numbers_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        files.write_json("/nowhere", float("nan"))


def test_finite_keeps_which_number_it_was():
    value = {"a": [float("nan"), -float("inf"), 1.5], "b": ("x", float("inf"), 3)}
    assert files.replace_non_finite(value) == {"a": ["nan", "-inf", 1.5], "b": ["x", "inf", 3]}
    assert float(files.replace_non_finite(-float("inf"))) == -float("inf")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda d: files.write_text(d / "file" / "x", ""), "a part of the path is a file"),
        (lambda d: files.make_dir(d / "file" / "x"), "a part of the path is a file"),
        (lambda d: files.make_dir(d / "file"), "a file of that name is in the way"),
        (lambda d: files.write_text(d / "folder", ""), "it is a folder"),
        (lambda d: files.read_text(d / "absent"), "there is no such file"),
        (lambda d: files.write_text(d / ("n" * 300), ""), "the name is too long"),
        (lambda d: files.list_folder(d / "absent"), "there is no such file or folder"),
    ],
)
def test_a_mistaken_path_is_named(tmp_path, act, reason):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=reason) as e:
        act(tmp_path)
    assert str(tmp_path) in str(e.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_may_not_be_written_is_a_users_mistake(tmp_path):
    if os.getuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="permission denied"):
            files.write_text(tmp_path / "x", "")
        return
    # Root may write anywhere, so a child gives the right up after its imports.
    script = (
        "import os, sys\n"
        "from lepton_jax.io import files\n"
        "os.setuid(65534)\n"
        "files.write_text(sys.argv[1], '')\n"
    )
    with tempfile.TemporaryDirectory() as locked:  # pytest's folders are closed to others
        os.chmod(locked, 0o755)
        done = subprocess.run([sys.executable, "-c", script, f"{locked}/x"], capture_output=True)
    assert f"UserError: cannot write {locked}/x: permission denied" in done.stderr.decode()


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(WorkError, match=r"x\.json is damaged: it is not JSON"):
        files.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(WorkError, match="not UTF-8"):
        files.read_json(tmp_path / "x.json")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk here; the file size limit is tested instead")
    try:
        path = tmp_path / "metrics.jsonl"
        files.write_bytes(path, b"old")
        with pytest.raises(WorkError, match="the disk is full") as e:
            files.write_bytes(path, b"x" * 200_000)
        assert str(path) in str(e.value)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["metrics.jsonl"]
        files.write_bytes(path, b"new")  # and there is room again
        assert path.read_bytes() == b"new"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_size_limit_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    script = (
        "import resource, sys\n"
        "from lepton_jax.io import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "files.write_bytes(sys.argv[1], b'x' * 2000)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True)
    message = f"WorkError: cannot write {path}: the file size limit is reached"
    assert message in done.stderr.decode()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_leftovers_of_killed_writers_are_hidden_and_removed(tmp_path):
    (tmp_path / ".x.json.0a1b2c3d.part").write_text("half")
    (tmp_path / ".hidden").write_text("the user's")
    assert files.list_folder(tmp_path) == [".hidden"]
    files.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [".hidden"]


def test_a_bucket_is_written_by_whole_puts(bucket):
    files.make_dir("gs://b/run")
    files.write_json("gs://b/run/a.json", [1])
    files.write_json("gs://b/run/a.json", [2])
    assert bucket.puts == ["gs://b/run/a.json"] * 2
    assert files.read_json("gs://b/run/a.json") == [2]
    assert files.join_path("gs://b/run", "x", "y") == "gs://b/run/x/y"
    assert files.list_folder("gs://b/run") == ["a.json"]
    assert files.exists("gs://b/run/a.json")
    assert files.is_dir("gs://b/run")
    assert not files.exists("gs://b/other")
    files.remove("gs://b/run/a.json")
    files.remove("gs://b/run/a.json")
    assert bucket.objects == {}
    with pytest.raises(UserError, match="cannot read gs://b/absent: there is no such file"):
        files.read_bytes("gs://b/absent")
    with pytest.raises(ValueError, match="only ever replaced"):
        files.append_bytes("gs://b/x", b"")


def test_the_bucket_of_these_tests_refuses_what_buckets_lack(bucket):
    from etils import epath

    path = epath.Path("gs://b/x")
    path.write_text("x")
    for call in (
        lambda: path.rename("gs://b/y"),
        lambda: path.open("a"),
        lambda: path.replace(path),
    ):
        with pytest.raises(NotInABucket):
            call()


def test_an_unknown_kind_of_path_is_named():
    with pytest.raises(UserError, match="no way to reach ftp:// paths"):
        files.exists("ftp://host/x")
