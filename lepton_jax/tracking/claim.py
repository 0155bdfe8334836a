"""One process to a workdir: whoever writes a record holds `owner.json` while it does.

On one machine the kernel tells whether the owner lives: its pid, and its start time, as pids come
round again. From another machine (a network disk, a bucket) only the heartbeat tells. Machines
are told apart by host name and boot, so that two containers are two machines.
"""

import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import get_type_hints

from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.io.lock import lock_path

HEARTBEAT = 20.0
"""Seconds between two signs of life."""
SILENCE = 120.0
"""Seconds without a sign of life after which an owner on another machine counts as dead."""
POLL = 2.0
"""Seconds between two looks at an owner on another machine that may be dead."""
SETTLE = 1.0
"""Seconds after which, on a remote store, the last of several claims made at once stands."""


@dataclass(frozen=True)
class Owner:
    """Who writes to a workdir. Times are seconds since the epoch."""

    host: str
    boot: str
    pid: int
    started: str
    since: float
    heartbeat: float
    token: str

    @property
    def here(self) -> bool:
        """Whether the owner is a process of this machine, whose kernel knows if it lives."""
        return (self.host, self.boot) == (socket.gethostname(), _boot())

    def lives(self) -> bool:
        """Tells whether the owner is still at work, as far as this process can know."""
        if self.here:
            return _started(self.pid) == self.started
        return time.time() - self.heartbeat < SILENCE


@contextmanager
def claim(workdir: Path) -> Iterator[Owner | None]:
    """Holds the workdir for this process; creates the folder if there is none.

    Yields the owner that died and was taken over, if there was one. An owner on another machine
    that may have died is waited for, until it gives a sign of life or has been silent for SILENCE
    seconds.

    Raises:
      UserError: when a living process of this machine holds it, naming host, pid and since when; or
        when the workdir cannot be written.
      WorkError: when one of another machine does: it may be about to end, so to try again helps.
    """
    files.make_dir(workdir)
    now = time.time()
    mine = Owner(
        host=socket.gethostname(),
        boot=_boot(),
        pid=os.getpid(),
        started=_started(os.getpid()),
        since=now,
        heartbeat=now,
        token=secrets.token_hex(8),
    )
    dead = _take(workdir, mine)
    files.remove_leftovers(workdir)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(workdir, mine, ended), daemon=True, name="owner")
    thread.start()
    try:
        yield dead
    finally:
        ended.set()
        thread.join()
        with suppress(UserError, WorkError):  # what the run came to does not depend on this file
            if _token(workdir) == mine.token:
                files.remove(_file(workdir))


def read_owner(workdir: Path) -> Owner | None:
    """Reads who holds a workdir, or died holding it; None when nobody does.

    Raises:
      WorkError: when owner.json is damaged.
    """
    path = _file(workdir)
    if not files.exists(path):
        return None
    value = files.read_object(path, cure="Remove it if no run is active", **get_type_hints(Owner))
    return Owner(**{field.name: value[field.name] for field in fields(Owner)})


def _take(workdir: Path, mine: Owner) -> Owner | None:
    watched: Owner | None = None
    began = 0.0
    while True:
        with ExitStack() as stack:
            if files.is_local(workdir):
                stack.enter_context(lock_path(workdir))
            owner = read_owner(workdir)
            # An owner's clock may be wrong: what counts is how long we have seen no new sign.
            silent = watched is not None and time.monotonic() - began >= SILENCE
            if owner is None or not owner.lives() or (silent and owner == watched):
                files.write_json(_file(workdir), asdict(mine))
                break
        if owner.here or (watched is not None and owner != watched):
            raise _refusal(workdir, owner)
        if watched is None:
            watched, began = owner, time.monotonic()
            say(
                f"{os.fspath(workdir)} is held by {_describe(owner)}, whose last sign of life is "
                f"{max(0.0, time.time() - owner.heartbeat):.0f} s old: waiting until it gives "
                f"another, or has given none for {SILENCE:g} s"
            )
        time.sleep(POLL)
    if not files.is_local(workdir):
        time.sleep(SETTLE)
        winner = read_owner(workdir)
        if winner is not None and winner.token != mine.token:
            raise _refusal(workdir, winner)
    return owner


def _beat(workdir: Path, mine: Owner, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT):
        # A missed beat is no reason to stop: whoever writes the record will meet the same fault.
        with suppress(UserError, WorkError):
            if _token(workdir) == mine.token:
                files.write_json(_file(workdir), asdict(replace(mine, heartbeat=time.time())))


def _token(workdir: Path) -> str | None:
    owner = read_owner(workdir)
    return owner.token if owner else None


def _refusal(workdir: Path, owner: Owner) -> UserError | WorkError:
    kind = UserError if owner.here else WorkError
    return kind(
        f"{os.fspath(workdir)} is in use by another process: {_describe(owner)}. Let it end, stop "
        "it, or choose another --workdir"
    )


def _describe(owner: Owner) -> str:
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(owner.since))
    except (OverflowError, ValueError, OSError, TypeError):
        since = f"{owner.since}"
    return f"host {owner.host}, pid {owner.pid}, since {since}"


def _file(workdir: Path) -> str:
    return files.join_path(workdir, "owner.json")


@cache
def _boot() -> str:
    """Names this boot of the machine, where the kernel does."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as f:
            return f.read().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Returns when a process began, in the kernel's own units; '' when there is none."""
    if os.path.exists("/proc/self/stat"):
        try:
            with open(f"/proc/{pid}/stat") as f:
                # The command's name, in brackets, may hold spaces and brackets itself.
                fields = f.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, start = fields[0], fields[19]
        return "" if state in "ZX" else start
    ps = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return ps.stdout.strip()
