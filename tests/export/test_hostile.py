"""Bundles that were damaged or forged: refused in a sentence, at once; nothing outside moves."""

import os
import random
import shutil
import stat
import threading
import time
from pathlib import Path

import pytest

from lepton_jax.commands.predict import predict
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export import verify as verify_module
from lepton_jax.export.verify import BundleCheck, verify_bundle
from lepton_jax.isolation import tried
from lepton_jax.registry.verified import Refusal, check_verified
from lepton_jax.serving import loader
from tests import graduation, hostile

SECONDS = 2.0

HARMLESS = {"bad_verdict", "hard_link_out"}
"""Mutations of the verdict alone: the bundle is what it was, and only the verdict is refused."""


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graduation.verified_bundle(tmp_path_factory)


class Hung(Exception):
    pass


def timed(act):
    """What `act` returns or raises, and whether it took longer than it may."""
    result: list[object] = []

    def run() -> None:
        try:
            result.append(act())
        except Exception as e:  # noqa: BLE001  whatever it is, it is looked at
            result.append(e)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    if thread.is_alive():
        raise Hung
    return result[0]


def assert_sentence(text: str) -> None:
    assert text
    assert len(text.splitlines()) <= 3, text
    assert all(c.isprintable() or c == "\n" for c in text), ascii(text)
    assert len(text) < 1000, text


def assert_refused(bundle: Path, name: str) -> None:
    """The loader, `predict`, `verify` and the registry's door refuse it, in a sentence each."""
    loaded = timed(lambda: loader.load_bundle(bundle))
    refusal = timed(lambda: check_verified(bundle))
    assert isinstance(refusal, Refusal), refusal
    assert_sentence(str(refusal))
    if name in HARMLESS:
        assert isinstance(loaded, loader.Bundle)
        return
    assert isinstance(loaded, loader.BundleError), loaded
    assert_sentence(str(loaded))
    said = timed(lambda: predict(bundle=str(bundle), examples=1))
    assert isinstance(said, WorkError), said
    verdict = timed(lambda: verify_bundle(str(bundle)))
    if isinstance(verdict, WorkError):  # verdict.json is a folder
        assert_sentence(str(verdict))
        return
    assert isinstance(verdict, verify_module.BundleVerdict), verdict
    assert not verdict.ok, name
    for check in verdict.checks:
        assert_sentence(str(check))


def assert_answers_or_refuses(bundle: Path) -> None:
    """Under a good manifest: what is read is right or refused; a changed one has another id."""
    loaded = timed(lambda: loader.load_bundle(bundle))
    assert isinstance(loaded, loader.Bundle | loader.BundleError), loaded
    refusal = timed(lambda: check_verified(bundle))
    assert isinstance(refusal, Refusal), refusal
    assert refusal.kind == "changed"
    answered = timed(lambda: predict(bundle=str(bundle), examples=2))
    if isinstance(answered, Exception):
        assert isinstance(answered, WorkError | UserError), repr(answered)
        assert_sentence(str(answered))
    verdict = timed(lambda: verify_bundle(str(bundle)))
    assert isinstance(verdict, verify_module.BundleVerdict), verdict
    for check in verdict.checks:
        assert_sentence(str(check))


def stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (verify_module, tried):
        monkeypatch.setattr(module, "run_isolated", in_this_process)
    monkeypatch.setattr(verify_module, "load_test_set", lambda *_: "not here")


def in_this_process(folder, identity, inputs, texts=(), *, program="stablehlo", **_):
    """What the clean process would report, for tests of what surrounds it."""
    report = {"importable": [], "violations": [], "error": None, "texts": [], "seconds": {}}
    report |= {"exact_sizes": []}
    try:
        bundle = loader.load_bundle(folder, identity, program)
        return report, [bundle.predict(batch) for batch in inputs]
    except (loader.BundleError, loader.InputError) as e:
        return {**report, "error": str(e)}, []


def try_mutation(verified: Path, folder: Path, name: str, seed: int) -> None:
    bundle, outside = folder / "bundle", folder / "outside"
    shutil.copytree(verified, bundle)
    outside.mkdir()
    (outside / "canary").write_text("as it was")
    rng = random.Random(f"{name} {seed}")
    forged = hostile.MUTATIONS[name](bundle, rng, outside)
    before = hostile.canaries(outside)
    if forged:
        assert_answers_or_refuses(bundle)
    else:
        assert_refused(bundle, name)
    assert hostile.canaries(outside) == before
    for path in outside.rglob("*"):
        path.chmod(0o700)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", hostile.MUTATIONS)
def test_mutated_bundle_is_not_accepted_and_nothing_outside_is_touched(
    verified, tmp_path, monkeypatch, name, seed
):
    stay_in_this_process(monkeypatch)
    began = time.process_time()
    try_mutation(verified, tmp_path, name, seed)
    if name not in ("edit_signature", "safetensors_header"):  # a program may be compiled
        assert time.process_time() - began < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile.MUTATIONS)
def test_a_thousand_mutated_bundles(verified, tmp_path, monkeypatch, name):
    stay_in_this_process(monkeypatch)
    for seed in range(2, 30):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try_mutation(verified, folder, name, seed)
        shutil.rmtree(folder, ignore_errors=True)


FORGED = ("document_of_another_shape", "edit_signature", "program_outside", "safetensors_header")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGED)
def test_forged_bundles_in_the_clean_process(verified, tmp_path, name):
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try_mutation(verified, folder, name, seed)


# The verdict.


def test_verdict_that_is_a_link_is_refused_and_nothing_is_written_through_it(bundle, tmp_path):
    (tmp_path / "precious").write_text("as it was")
    (bundle / loader.VERDICT).unlink()
    (bundle / loader.VERDICT).symlink_to(tmp_path / "precious")
    verdict = verify_bundle(str(bundle))
    assert not verdict.ok
    assert "verdict.json: is a link" in str(verdict)
    assert (tmp_path / "precious").read_text() == "as it was"
    assert stat.S_ISREG((bundle / loader.VERDICT).lstat().st_mode)
    assert check_verified(bundle) is not None


def test_verdict_with_another_name_outside_is_not_written_into(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(verify_module, "_check_behaviour", lambda *_: [])
    (bundle / loader.VERDICT).unlink()
    (tmp_path / "precious").write_text("as it was")
    os.link(tmp_path / "precious", bundle / loader.VERDICT)
    assert verify_bundle(str(bundle)).ok
    assert (tmp_path / "precious").read_text() == "as it was"


def test_verdict_of_a_killed_verify_leaves_nothing_for_good(bundle, monkeypatch):
    monkeypatch.setattr(verify_module, "_check_behaviour", lambda *_: [])
    (bundle / ".verdict.json.0a1b2c3d.part").write_text('{"id": ')
    assert verify_bundle(str(bundle)).ok
    assert sorted(p.name for p in bundle.iterdir() if "verdict" in p.name) == [loader.VERDICT]


@pytest.mark.parametrize("code", [1, 13, 30], ids=["not permitted", "denied", "read-only"])
def test_who_may_not_write_into_a_bundle_may_verify_it(bundle, monkeypatch, code):
    def refuse(path):
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(verify_module, "_check_behaviour", lambda *_: [])
    monkeypatch.setattr(verify_module, "replace_file", refuse)
    verdict = verify_bundle(str(bundle))
    assert verdict.ok
    last = str(verdict).splitlines()[-1]
    assert last.startswith("Verified; the verdict is not kept")
    assert "--json" in last
    assert verdict.as_json()["ok"] is True


def test_full_disk_is_no_verdict(bundle, monkeypatch):
    def refuse(path):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(verify_module, "_check_behaviour", lambda *_: [BundleCheck("x", True, "")])
    monkeypatch.setattr(verify_module, "replace_file", refuse)
    with pytest.raises(WorkError, match=r"cannot write .*No space left"):
        verify_bundle(str(bundle))


# The one door.


@pytest.mark.parametrize(
    "path",
    [
        "", "/", ".", "..", "../x", "a/../b", "a//b", "./a", "a/", "/etc/hostname", "a\0b",
        "link", "folder link/00.png", "examples", "fifo", "absent", "signature.json/x",
    ],
)  # fmt: skip
def test_door_opens_plain_files_inside_alone(bundle, path):
    (bundle / "link").symlink_to("signature.json")
    (bundle / "folder link").symlink_to("examples")
    os.mkfifo(bundle / "fifo")
    with pytest.raises(OSError, match=r"."):
        loader.open_inside(bundle, path)
    with loader.open_inside(bundle, "examples/00.png") as f:
        assert f.read(4) == b"\x89PNG"


def test_door_keeps_no_descriptor(bundle):
    os.mkfifo(bundle / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("fifo", "examples/00.png", "absent", "examples/absent", "..", "signature.json"):
        for _ in range(5):
            try:
                loader.open_inside(bundle, path).close()
            except OSError:
                continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_folder_of_a_bundle_may_itself_be_a_link_of_the_users(bundle, tmp_path):
    (tmp_path / "latest").symlink_to(bundle)
    assert loader.load_bundle(tmp_path / "latest").id == loader.bundle_id(bundle)
