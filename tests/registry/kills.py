"""Kills what changes a registry at random moments.

`python -m tests.registry.kills WHAT COUNT FOLDER`: WHAT is one of the situations of `main`.

This process imports what a registry needs and opens none; each act and each check is a fork of it,
so that hundreds of kills take minutes. It prints a line for each kill, and fails with the first
registry that is not whole.
"""

import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import alembic.command  # noqa: F401
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
import mlflow.tracking  # noqa: F401

from lepton_jax.errors import UserError, WorkError
from lepton_jax.registry import history
from lepton_jax.registry.gating import set_gate
from lepton_jax.registry.promotion import promote_version, roll_back_alias
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.serving import loader
from lepton_jax.signing.keys import KeyPair, make_key_pair
from lepton_jax.signing.signer import find_signer, sign_folder, tidy_bundle
from lepton_jax.signing.trust import add_key
from lepton_jax.tracking import mlflow_store
from tests.registry.tiny import tiny_bundle

Act = Callable[[], object]


def start(act: Act) -> int:
    """Runs an act in a fork; a sentence of ours ends it with 1, anything else with 3."""
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        act()
        code = 0
    except (UserError, WorkError) as e:
        print(f"  {e}", flush=True)
        code = 1
    except BaseException as e:  # noqa: BLE001
        print(f"  {type(e).__name__}: {e}", flush=True)
    os._exit(code)


def end(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(act: Act, expected: int = 0) -> float:
    """Runs an act to its end in a fork. Returns the seconds that it took."""
    began = time.monotonic()
    code = end(start(act))
    assert code == expected, f"ended with {code}"
    return time.monotonic() - began


def kill_at_random(acts: list[Act], seconds: float) -> list[int]:
    """Starts acts at once and kills the first at a random moment. Returns how each ended."""
    pids = [start(act) for act in acts]
    time.sleep(random.uniform(0, seconds))
    os.kill(pids[0], signal.SIGKILL)
    return [end(pid) for pid in pids]


def check() -> None:
    """Checks that the registry stands where its history says, and that all versions are whole."""
    registry = Registry()
    for model in registry.models():
        aliases = registry.aliases(model)
        events = history.read_events(registry.entry(model).tags)
        assert not history.undone(events), events
        for alias in ("staging", "production"):
            decided = history.decided_alias(events, alias)
            assert aliases.get(alias) == decided, (alias, aliases, decided)
        assert registry.gate(model) == history.decided_gate(events)
        versions = registry.versions(model)
        assert len({v.id for v in versions}) == len(versions), versions
        for version in versions:
            assert loader.find_faults(registry.fetch(version, fresh=True)) == []


def first_use(root: Path, bundles: list[Path], count: int, at_once: int) -> None:
    """The first command of a registry, alone or one of several at once."""

    def act() -> None:
        register_bundle(str(bundles[0]), "digits")

    seconds = run(act)
    for i in range(count):
        shutil.rmtree(root)
        ends = kill_at_random([act] * at_once, seconds)
        print(f"first use {i}: {ends}", flush=True)
        assert set(ends[1:]) <= {0}
        run(check)
        run(act)
        run(lambda: check_versions(1))
        assert [p.name for p in root.glob(".registry*")] == []


def check_versions(count: int) -> None:
    check()
    assert [v.version for v in Registry().versions("digits")] == list(range(1, count + 1))


def full_disk(root: Path, bundles: list[Path], count: int) -> None:
    """The first command of a registry on a disk that fills, and then has room."""

    def act() -> None:
        register_bundle(str(bundles[0]), "digits")

    def act_in_little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = random.randrange(4096, 900_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        act()

    for i in range(count):
        print(f"full disk {i}", flush=True)
        shutil.rmtree(root, ignore_errors=True)
        run(act_in_little_room, expected=1)
        run(check)
        run(act)
        run(lambda: check_versions(1))


def changes(root: Path, bundles: list[Path], count: int, at_once: int) -> None:
    """Registrations, promotions, rollbacks and gates, alone or several at once."""
    del root
    run(lambda: register_bundle(str(bundles[0]), "digits"))
    acts: list[Act] = [
        *[lambda b=b: register_bundle(str(b), "digits") for b in bundles],
        *[lambda b=b: promote_version(bundle=str(b), model="digits") for b in bundles],
        *[lambda b=b: promote_version(bundle=str(b), model="digits", to="production")
          for b in bundles],
        lambda: roll_back_alias("digits"),
        lambda: set_gate("digits", ["test/accuracy>=0.1"]),
        lambda: set_gate("digits", []),
    ]  # fmt: skip
    seconds = run(lambda: promote_version(bundle=str(bundles[0]), model="digits"))
    for i in range(count):
        some = random.choices(acts, k=at_once)
        ends = kill_at_random(some, seconds * at_once)
        print(f"change {i}: {ends}", flush=True)
        assert set(ends[1:]) <= {0, 1}  # 1: there is nothing to roll back
        run(check)
        if random.random() < 0.3:
            end(start(some[0]))
            run(check)


def promote_and_sign(root: Path, bundles: list[Path], count: int) -> None:
    """Promotions to staging and on to production, rollbacks, and signatures."""
    os.environ["LEPTON_JAX_TRUST"] = str(root.parent / "trusted_keys.json")
    pairs = [make_key_pair(str(root.parent / f"{name}.pem")) for name in ("alice", "bob")]
    for pair in pairs:
        add_key(pair.public, Path(pair.public).stem)

    def sign(bundle: Path, pair: KeyPair) -> None:
        sign_folder(bundle, pair.private)
        register_bundle(str(bundle), "digits")

    for bundle in bundles:
        run(lambda b=bundle: register_bundle(str(b), "digits"))
    run(lambda: set_gate("digits", ["test/accuracy>=0.1", "size<=1MB"]))
    acts: list[Act] = [
        *[lambda n=n: promote_version(model=f"digits/{n}") for n in (1, 2, 3)],
        lambda: promote_version(model="digits@staging", to="production"),
        lambda: promote_version(model="digits/1", to="production", force="a test", by="ana"),
        *[lambda a=a: roll_back_alias("digits", a) for a in ("staging", "production")],
        *[lambda b=b, p=p: sign(b, p) for b in bundles for p in pairs],
    ]  # fmt: skip
    seconds = run(lambda: sign(bundles[0], pairs[0]))
    for i in range(count):
        chosen = random.randrange(len(acts))
        ends = kill_at_random([acts[chosen]], seconds)
        print(f"act {chosen}, kill {i}: {ends}", flush=True)
        run(check)
        run(lambda: check_signatures(bundles))


def check_signatures(bundles: list[Path]) -> None:
    """Checks that no bundle, of the registry or of a user, has half a signature."""
    for bundle in bundles:
        tidy_bundle(bundle)  # as the next command that is given the bundle does
    registry = Registry()
    copies = [registry.fetch(v, fresh=True) for v in registry.versions("digits")]
    for folder in (*bundles, *copies):
        assert find_signer(folder).state in ("unsigned", "trusted"), folder
        assert loader.find_faults(folder) == [], folder


def main(what: str, count: int, folder: Path) -> None:
    random.seed(what)
    os.environ["LEPTON_JAX_REGISTRY"] = str(folder / "registry")
    os.environ["LEPTON_JAX_CACHE"] = str(folder / "cache")
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    root = folder / "registry"
    bundles = [tiny_bundle(folder / f"bundle{i}", 0.9 + i / 100) for i in range(3)]
    match what:
        case "first use":
            first_use(root, bundles, count, 1)
        case "first use by two":
            first_use(root, bundles, count, 2)
        case "first use on a full disk":
            full_disk(root, bundles, count)
        case "changes":
            changes(root, bundles, count, 1)
        case "changes by three":
            changes(root, bundles, count, 3)
        case "promote, roll back and sign":
            promote_and_sign(root, bundles, count)
    assert mlflow_store.store_exists(mlflow_store.store_uri())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
