import io
import os
import pty
import re
import sys
import threading

import pytest

from lepton_jax.tracking import progress as progress_module
from lepton_jax.tracking.progress import Progress


class Clock:
    """Time as the test tells it."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress_module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_piped_lines_come_first_last_and_seldom_between(clock):
    stream = io.StringIO()
    with Progress(1000, batch_size=64, show=("train/loss",), stream=stream) as progress:
        for step in range(1, 1001):
            clock.now += 0.025
            progress.update(step, {"train/loss": 1 / step, "train/grad_norm": 3.0})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4  # at 0, 10 and 20 seconds, and the last
    assert lines[0] == "step 1/1,000  train/loss 1.0000"
    assert lines[1] == "step 401/1,000  train/loss 0.0025  2,560 examples/s  0:15 left"
    assert lines[-1] == "step 1,000/1,000  train/loss 0.0010  2,560 examples/s  in 0:25"
    assert "\x1b" not in stream.getvalue()


def test_a_line_is_never_broken_or_coloured_when_piped(clock, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    with Progress(10, batch_size=1, show=("train/loss", "valid/accuracy"), stream=stream) as p:
        clock.now += 1
        p.update(10, {"train/loss": 1e-5, "valid/accuracy": 0.5})
        p.say("checkpoint 5 is damaged: going back one, which is a long sentence [bold]")
    first, second = stream.getvalue().splitlines()
    assert first == "step 10/10  train/loss 1e-05  valid/accuracy 0.5000  10 examples/s  in 0:01"
    assert second.endswith("a long sentence [bold]")


def test_the_compilation_is_not_taken_for_the_speed(clock):
    stream = io.StringIO()
    with Progress(10_000, batch_size=10, start=0, stream=stream) as progress:
        clock.now += 60
        progress.update(100, {})
        clock.now += 1
        progress.update(200, {})
    assert "1,000 examples/s" in stream.getvalue().splitlines()[-1]


def test_a_resumed_run_counts_only_its_own_steps(clock):
    stream = io.StringIO()
    with Progress(1000, batch_size=10, start=900, stream=stream) as progress:
        clock.now += 60  # with the compilation
        progress.update(925, {})
        clock.now += 10
        progress.update(975, {})
    first, second = stream.getvalue().splitlines()
    assert first == "step 925/1,000"
    assert second == "step 975/1,000  50 examples/s  0:05 left"


def test_a_metric_stays_until_the_next_and_unknown_numbers_are_shown(clock):
    stream = io.StringIO()
    with Progress(10, batch_size=1, show=("train/loss", "valid/loss"), stream=stream) as progress:
        progress.update(1, {"valid/loss": float("nan")})
        progress.update(2, {"train/loss": 12345.6})
    assert (
        stream.getvalue()
        .splitlines()[-1]
        .startswith("step 2/10  train/loss 1.23e+04  valid/loss nan")
    )


def test_nothing_heard_nothing_shown():
    stream = io.StringIO()
    with Progress(10, batch_size=1, stream=stream):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_shows_one_live_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    master, slave = pty.openpty()
    received = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end was closed
                return
            if not data:
                return
            received.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setattr(progress_module, "REFRESH", 0.0)
    with os.fdopen(slave, "w") as stream, Progress(30, batch_size=8, stream=stream) as progress:
        for step in range(1, 31):
            progress.update(step, {"train/loss": 1 / step})
            if step == 10:
                progress.say("a note")
    reader.join()
    os.close(master)
    text = received.decode()
    assert "\x1b[2K" in text  # the line is redrawn in place
    screen = _screen(text)
    assert screen[0] == "a note"
    assert re.fullmatch(r"step 30/30  train/loss 0\.0333  [\d,]+ examples/s  in 0:00", screen[1])
    assert len(screen) == 2
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is given back


def _screen(text: str) -> list[str]:
    """What is left on a terminal after `text`: carriage return, erase line, up one line."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r\n|[\r\n]|[^\x1b\r\n]+", text):
        if token in ("\r\n", "\n"):
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token == "\x1b[1A":
            row -= 1
        elif not token.startswith(("\x1b", "\r")):
            lines[row] = token
    return [line.rstrip() for line in lines if line.strip()]


def test_it_writes_to_stderr(capsys):
    with Progress(10, batch_size=1) as progress:
        progress.update(1, {})
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("step 1/10")
    assert sys.stderr is not None
