import io
import os
import pty
import re
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from lepton_jax.config.config import BestConfig
from lepton_jax.formats import format_clock, format_seconds
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.tracking import live_line
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


def run(
    progress: Progress, clock: Clock, steps: range, *, compiling: float, each: float
) -> Iterator[int]:
    """Takes steps as the loop does, dispatched ahead; yields each that is done."""
    progress.advance(steps.start)
    clock.now += compiling
    for step in range(steps.start + 1, steps.stop + 1):
        if step - steps.start > IN_FLIGHT:
            clock.now += each
        progress.advance(step)
        yield step
    clock.now += each * min(IN_FLIGHT, len(steps))


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def left(line: str) -> float:
    """Seconds that a line says are left."""
    found = re.search(r"(?:(\d+):)?(\d+):(\d\d) left", line)
    assert found, line
    hours, minutes, seconds = (int(x or 0) for x in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def test_piped_lines_come_with_the_first_numbers_and_then_ever_more_seldom(clock):
    stream = io.StringIO()
    with Progress(36_000, batch_size=64, stream=stream) as progress:
        for step in run(progress, clock, range(36_000), compiling=50, each=1.0):
            if step % 50 == 0:
                progress.update(step - 50, {"train/loss": 1 / step, "train/grad_norm": 3.0})
        progress.update(36_000, {"train/loss": 0.25})
    first, *lines = lines_of(stream)
    assert first == "compiled  in 50.0 s"
    assert lines[0].startswith("step     10/36,000  9:59:")
    assert lines[-1].startswith("step 36,000/36,000  in 10:00:50  train/loss 0.2500  64 examples/s")
    assert 600 < len(lines) < 650  # in ten hours, a minute apart
    assert "\x1b" not in stream.getvalue()
    assert "grad_norm" not in stream.getvalue()


def test_a_file_hears_of_steps_that_are_slow(clock):
    stream = io.StringIO()
    with Progress(100, batch_size=1, stream=stream) as progress:
        for _ in run(progress, clock, range(100), compiling=1, each=11.0):
            pass
    assert re.match(r"step +\d+/100", lines_of(stream)[1])


def test_a_line_is_never_broken_or_coloured_when_piped(clock, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    with Progress(10, batch_size=1, show=("train/loss", "valid/accuracy"), stream=stream) as p:
        clock.now += 1
        p.update(10, {"train/loss": 1e-5, "valid/accuracy": 0.5})
        p.say("checkpoint 5 is damaged: going back one, which is a long sentence [bold]")
    first, second = lines_of(stream)
    assert first.endswith("a long sentence [bold]")
    assert second == "step 10/10  in 0:01  train/loss 1e-05  valid/accuracy 0.5000"


@pytest.mark.parametrize("start", [0, 900], ids=["afresh", "resumed"])
def test_the_time_left_is_right_from_the_first_line(clock, start: int):
    stream = io.StringIO()
    with Progress(1000, batch_size=10, start=start, stream=stream) as progress:
        for step in run(progress, clock, range(start, 1000), compiling=300, each=0.5):
            if step % 25 == 0:
                progress.update(step - 25, {"train/loss": 1.0})
                last = lines_of(stream)[-1]
                if "left" in last and step - start < 60:
                    done = step - IN_FLIGHT - (step % 25)
                    assert left(last) == pytest.approx((1000 - done) * 0.5, abs=13)
    shown = [line for line in lines_of(stream) if "left" in line]
    assert "20 examples/s" in shown[0]


def test_evaluations_count_for_the_time_left_but_not_their_compilation(clock):
    stream = io.StringIO()
    with Progress(400, batch_size=1, stream=stream) as progress:
        for step in run(progress, clock, range(400), compiling=9, each=0.1):
            if step % 40 == 0:
                with progress.aside("evaluating"):
                    clock.now += 4 if step > 40 else 60
                clock.now += IN_FLIGHT * 0.1  # for what is in flight is waited
                progress.update(step, {"valid/loss": 1.0})
                if step == 40:
                    assert left(lines_of(stream)[-1]) == pytest.approx(36, abs=2)
                if step == 200:  # left are five evaluations of 4 s and 200 steps
                    assert left(lines_of(stream)[-1]) == pytest.approx(48, abs=8)


def test_a_run_that_is_stopped_says_at_which_step(clock):
    stream = io.StringIO()
    with Progress(400, batch_size=1, stream=stream) as progress:
        steps = run(progress, clock, range(400), compiling=9, each=0.1)
        while next(steps) < 40:
            pass
        progress.update(25, {"train/loss": 1.0})
    assert lines_of(stream)[-1].startswith("step  40/400  in 0:11  train/loss 1.0000")


def test_the_speed_follows_a_change(clock):
    stream = io.StringIO()
    with Progress(3000, batch_size=1, stream=stream) as progress:
        for _ in run(progress, clock, range(1000), compiling=1, each=0.1):
            pass
        for step in range(1001, 2001):
            clock.now += 1.0
            progress.advance(step)
    assert left(lines_of(stream)[-2]) == pytest.approx(1000, rel=0.1)


def test_the_best_so_far_is_shown_of_earlier_lives_too(clock):
    stream = io.StringIO()
    best = BestConfig(metric="valid/accuracy", mode="max")
    show = ("train/loss", "valid/accuracy")
    with Progress(
        100, batch_size=1, start=20, show=show, best=best, epochs=4.0, stream=stream
    ) as progress:
        progress.remember(10, {"valid/accuracy": 0.75})
        progress.remember(20, {"valid/accuracy": 0.5})
        progress.update(30, {"train/loss": 12345.6, "train/learning_rate": 1e-3})
        clock.now += 60
        progress.update(40, {"valid/accuracy": float("nan")})
    first, second, _ = lines_of(stream)
    assert first == (
        "step  30/100  train/loss 1.23e+04  valid/accuracy 0.5000 (best 0.7500 at 10)"
        "  epoch 1.20/4  lr 0.001"
    )
    assert "valid/accuracy nan (best 0.7500 at 10)" in second


def test_the_last_line_of_a_broken_run_has_the_last_step_that_was_good(clock):
    stream = io.StringIO()
    with Progress(500, batch_size=4, stream=stream) as progress:
        for step in range(7):
            clock.now += 1.0
            progress.advance(step)
        progress.update(3, {"train/loss": 2.5})
        progress.end_at(3)
    assert re.match(r"step +3/500 ", lines_of(stream)[-1])


def test_nothing_heard_nothing_shown():
    stream = io.StringIO()
    with Progress(10, batch_size=1, stream=stream):
        pass
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (30, "step   500/1,000  0:05 left"),
        (40, "━━━━──── step   500/1,000  0:05 left"),
        (64, "━━━━──── step   500/1,000  0:05 left  train/loss 0.2500"),
        (80, "━━━━──── step   500/1,000  0:05 left  train/loss 0.2500  valid/loss 0.5000"),
        (
            120,
            "━━━━──── step   500/1,000  0:05 left  train/loss 0.2500  valid/loss 0.5000"
            "  train/accuracy 0.9000  800 examples/s",
        ),
        (
            160,
            "━━━━━───── step   500/1,000  0:05 left  train/loss 0.2500  valid/loss 0.5000 "
            "(best 0.4000 at 400)  epoch 4.50/9  train/accuracy 0.9000  800 examples/s  lr 0.001",
        ),
    ],
)
def test_what_is_asked_for_most_fits_a_narrow_terminal(clock, columns: int, shown: str):
    best = BestConfig(metric="valid/loss", mode="min")
    show = ("train/loss", "valid/loss", "train/accuracy")
    with Progress(
        1000, batch_size=8, show=show, best=best, epochs=9.0, stream=io.StringIO()
    ) as progress:
        for _ in run(progress, clock, range(500), compiling=1, each=0.01):
            pass
        progress.update(400, {"valid/loss": 0.4, "train/accuracy": 0.9})
        progress.update(500, {"train/loss": 0.25, "valid/loss": 0.5, "train/learning_rate": 1e-3})
        assert progress.line(columns).plain == shown


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
    monkeypatch.setattr(live_line, "REFRESH", 200.0)
    with os.fdopen(slave, "w") as stream, Progress(30, batch_size=8, stream=stream) as progress:
        for step in range(31):
            progress.advance(step)
            if step:
                progress.update(step, {"train/loss": 1 / step})
            if step == 10:
                progress.say("a note")
            time.sleep(0.01)
    reader.join()
    os.close(master)
    text = received.decode()
    assert "\x1b[2K" in text  # the line is redrawn in place
    screen = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in _screen(text)]
    assert screen[0].startswith("compiled  in ")
    assert screen[1] == "a note"
    assert re.fullmatch(
        r"━{8} step 30/30  in 0:0\d  train/loss 0\.0333  [\d,]+ examples/s", screen[2]
    )
    assert len(screen) == 3
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is given back


def _screen(text: str) -> list[str]:
    """What is left on a terminal after `text`: carriage return, erase line, up one line."""
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
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
    assert err.startswith("step  1/10")
    assert sys.stderr is not None


def test_durations_and_times_of_day_read_at_once(monkeypatch):
    assert [format_seconds(s) for s in (7, 754, 10_925, 352_800)] == [
        "0:07", "12:34", "3:02:05", "4 d 02:00",
    ]  # fmt: skip
    monkeypatch.setattr(progress_module.time, "time", lambda: 1_700_000_000.0)
    monkeypatch.setattr(progress_module.time, "localtime", time.gmtime)
    assert format_clock(3600) == "at 23:13"
    assert format_clock(7200) == "on Wed at 00:13"
    assert format_clock(30 * 86400) == "on 14 Dec 2023"
