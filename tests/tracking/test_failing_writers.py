"""A tracker that fails is said, tried again and caught up; it never ends a run."""

import json
import shutil
import sys
import time
from functools import partial

import pytest

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.tracking.attachments import read_attachments
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers import views as views_module
from lepton_jax.tracking.writers.batches import BatchedWriter
from lepton_jax.tracking.writers.links import find_links
from lepton_jax.tracking.writers.mlflow import MLflow
from lepton_jax.tracking.writers.tensorboard import TensorBoard
from lepton_jax.tracking.writers.views import Views
from tests.tracking.fake_mlflow import hang, serving
from tests.tracking.test_writers import CONFIG, scalars, values

STEPS = range(1, 13)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No pause is long, nothing is sent late, and no server is waited for."""
    monkeypatch.setattr(views_module, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(views_module, "PATIENCE", 5.0)
    monkeypatch.setattr(BatchedWriter, "seconds", 0.0)
    at_once = property(lambda self: 0.0, lambda self, value: None)
    monkeypatch.setattr(TensorBoard, "seconds", at_once)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


@pytest.fixture
def server():
    with serving() as fake:
        yield fake


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "refused"])
def test_mlflow_server_that_takes_no_pictures_has_the_numbers(tmp_path, server, capsys, taken):
    record = Record.create(tmp_path, "{}", {})
    record.write_results("checkpoint", {"step": 12, "best": "valid/loss"})
    (tmp_path / "curves.png").write_bytes(b"a PNG")
    server.artifacts = {} if taken else None
    writer = partial(MLflow, record.workdir, CONFIG, uri=server.uri)
    views = Views({"it": writer}, (), record.workdir, partial(read_attachments, record))
    views(12, values(12))
    record.end("finished", 12)
    assert views.close()
    assert server.history("run0") == {name: [12] for name in values(12)}
    assert server.runs["run0"]["status"] == "FINISHED"
    assert server.artifacts == ({"run0/curves.png": b"a PNG"} if taken else None)
    assert ("MLflow does not show the pictures" in capsys.readouterr().err) != taken


def wait_for(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def a_run(record, build, *, breaks=None, heals=None) -> bool:
    """Logs 12 steps; `breaks` after the 4th, `heals` after the 8th. Returns what `close` does."""
    views = Views({"it": build}, record.rows(), record.workdir)
    for step in STEPS:
        record.log(step, values(step))
        views(step, values(step))
        if step == 4 and breaks:
            breaks()
        if step == 8 and heals:
            heals()
    record.end("finished", STEPS[-1])
    return views.close()


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """The lines that writers say."""
    lines: list[str] = []
    monkeypatch.setattr(views_module, "say", lambda text: lines.extend(text.splitlines()))
    return lines


def warnings(capsys) -> list[str]:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.splitlines()


FAULTS = {
    "500 with JSON": lambda: (500, '{"error_code":"INTERNAL_ERROR","message":"QueuePool"}'),
    "500 with a page": lambda: (500, "<html>\n<h1>oops</h1></html>"),
    "502 of a proxy": lambda: (502, "Bad gateway"),
    "503": lambda: (503, ""),
    "429 too many requests": lambda: (429, "slow down"),
    "401, the token has run out": lambda: (401, "Unauthorized"),
    "403": lambda: (403, '{"error_code":"PERMISSION_DENIED","message":"no"}'),
    "404, the server has moved": lambda: (404, "<html>nginx</html>"),
    "200 with a page to sign in": lambda: (200, "<html>Sign in</html>"),
    "200 with a list": lambda: (200, "[1, 2]"),
    "hangs up": lambda: None,
    "too slow": lambda: hang(1.2),
    "the run is gone": lambda: (404, '{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"gone"}'),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("everywhere", [False, True], ids=["when logging", "always"])
def test_mlflow_that_fails_for_a_while_is_said_once_and_caught_up(
    tmp_path, server, said, fault, everywhere
):
    record = Record.create(tmp_path / "run", "{}", {})

    def breaks():
        server.fault, server.everywhere = fault, everywhere

    def heals():
        wait_for(lambda: said)
        server.fault = None

    assert a_run(
        record, lambda: MLflow(record.workdir, CONFIG, uri=server.uri), breaks=breaks, heals=heals
    )
    assert [line for line in said if line.startswith("warning: writers.it failed: ")] == said[:1]
    assert said[1].startswith("The run goes on, and its record is whole.")
    assert said[2:] == ["writers.it has caught up: it shows the whole run"]
    assert server.history("run0") == {k: list(STEPS) for k in values(1)}
    assert server.runs["run0"]["status"] == "FINISHED"
    assert server.runs["run0"]["params"]["model.name"] == "cnn"


def test_mlflow_that_stays_away_ends_no_run_and_the_next_start_shows_all(tmp_path, server, said):
    record = Record.create(tmp_path / "run", "{}", {})
    build = partial(MLflow, record.workdir, CONFIG, uri=server.uri)

    def breaks():
        server.fault, server.everywhere = FAULTS["503"], True

    assert not a_run(record, build, breaks=breaks, heals=lambda: wait_for(lambda: said))
    assert len(said) == 4
    assert said[2].startswith(f"warning: writers.it does not show all of {record.workdir}: MLflow")
    assert said[3].endswith(f"--config={record.workdir}/config.json --workdir={record.workdir}")
    assert [row["step"] for row in Record.open(record.workdir).rows()] == list(STEPS)
    server.fault = None
    assert Views({"it": build}, record.rows()).close()
    assert server.history("run0") == {k: list(STEPS) for k in values(1)}


def test_mlflow_that_is_away_at_the_start_ends_no_run(tmp_path, server, capsys):
    server.fault, server.everywhere = FAULTS["503"], True
    record = Record.create(tmp_path / "run", "{}", {})
    build = partial(MLflow, record.workdir, CONFIG, uri=server.uri)
    assert a_run(record, build, heals=lambda: setattr(server, "fault", None))
    assert warnings(capsys)[-1] == "writers.it has caught up: it shows the whole run"
    assert server.history("run0") == {k: list(STEPS) for k in values(1)}


@pytest.mark.parametrize("stage", ["deleted", "gone for good"])
@pytest.mark.parametrize("when", ["while it runs", "before a resume"])
def test_mlflow_run_that_was_deleted_is_made_anew(tmp_path, server, capsys, stage, when):
    record = Record.create(tmp_path / "run", "{}", {})
    build = partial(MLflow, record.workdir, CONFIG, uri=server.uri)

    def delete():
        wait_for(lambda: server.runs["run0"]["metrics"])
        server.runs["run0"]["stage"] = "deleted"
        gone = (404, '{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"No run run0"}')
        call = server._call

        def refuse(name, query):
            if query.get("run_id") == "run0" and (stage != "deleted" or name != "runs/get"):
                raise_gone.append(name)
                return {}
            return call(name, query)

        raise_gone: list[str] = []
        answer = server.answer

        def answered(path, query):
            count = len(raise_gone)
            given = answer(path, query)
            return gone if len(raise_gone) > count else given

        server._call, server.answer = refuse, answered

    if when == "while it runs":
        assert a_run(record, build, breaks=delete)
    else:
        assert a_run(record, build)
        delete()
        assert Views({"it": build}, record.rows()).close()
    said = warnings(capsys)
    assert (
        f"MLflow's run run0 of {record.workdir} was deleted: a new one shows the whole"
        in "\n".join(said)
    )
    assert server.history("run1") == {k: list(STEPS) for k in values(1)}
    assert files.read_json(record.path("mlflow.json"))["run_id"] == "run1"


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"uri": 1, "run_id": "run0"}', "null"])
def test_damaged_note_of_a_tracker_makes_a_new_run(tmp_path, server, capsys, note):
    record = Record.create(tmp_path / "run", "{}", {})
    (tmp_path / "run/mlflow.json").write_text(note)
    assert a_run(record, partial(MLflow, record.workdir, CONFIG, uri=server.uri))
    said = "\n".join(warnings(capsys))
    assert "mlflow.json is damaged: the whole record is shown as a new run" in said
    assert server.history("run0") == {k: list(STEPS) for k in values(1)}


def test_mlflow_hears_that_a_run_failed_though_its_record_says_so_later(tmp_path, server):
    record = Record.create(tmp_path / "run", "{}", {})
    views = Views({"it": partial(MLflow, record.workdir, CONFIG, uri=server.uri)})
    assert views.close()
    assert server.runs["run0"]["status"] == "FAILED"


def test_names_that_mlflow_does_not_take_are_shown_by_allowed_ones(tmp_path, server):
    view = MLflow(str(tmp_path), {"a@b": 1, "c": {"d,e": 2}}, uri=server.uri)
    view(1, {"valid/recall@5": 0.5, "valid/f1(macro)": 0.1})
    view.close()
    assert server.history("run0") == {"valid/recall_5": [1], "valid/f1_macro_": [1]}
    assert server.runs["run0"]["params"] == {"a_b": "1", "c.d_e": "2"}
    again = MLflow(str(tmp_path), {"a@b": 1, "c": {"d,e": 2}}, uri=server.uri)
    again(1, {"valid/recall@5": 0.5})
    again.close()
    assert server.history("run0")["valid/recall_5"] == [1]


# TensorBoard


def lose_folder(folder):
    shutil.rmtree(folder)


def lose_files(folder):
    for path in folder.iterdir():
        path.unlink()


def replace_by_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("in the way")


@pytest.mark.parametrize("lose", [lose_folder, lose_files, replace_by_a_file])
def test_tensorboard_whose_files_are_lost_is_written_again(tmp_path, said, lose):
    record = Record.create(tmp_path / "run", "{}", {})
    folder = tmp_path / "run/tensorboard"

    def breaks():
        wait_for(lambda: [p for p in folder.iterdir() if p.stat().st_size])
        lose(folder)

    def heals():
        wait_for(lambda: said)
        if folder.is_file():
            folder.unlink()

    assert a_run(record, lambda: TensorBoard(record.workdir, CONFIG), breaks=breaks, heals=heals)
    assert len(said) == 3, said
    assert {k: [s for s, _ in v] for k, v in scalars(folder).items()} == {
        k: list(STEPS) for k in values(1)
    }


def test_tensorboard_on_a_full_disk_is_written_when_there_is_room(tmp_path, said, monkeypatch):
    record = Record.create(tmp_path / "run", "{}", {})
    full, append = [], files.append_bytes

    def append_if_room(path, data):
        if full:
            full.append(1)
            append(path, data[:7])  # what still fits
            raise WorkError(f"cannot write {path}: the disk is full")
        append(path, data)

    monkeypatch.setattr(files, "append_bytes", append_if_room)

    def heals():
        wait_for(lambda: said)
        full.clear()

    assert a_run(
        record,
        lambda: TensorBoard(record.workdir, CONFIG),
        breaks=lambda: full.append(0),
        heals=heals,
    )
    assert "the disk is full" in said[0]
    found = scalars(tmp_path / "run/tensorboard")
    assert {k: [s for s, _ in v] for k, v in found.items()} == {k: list(STEPS) for k in values(1)}


# A writer of one's own


class Own:
    """Shows rows in a list; raises at the step `bad` for the first `times` times."""

    def __init__(self, shown, error, bad=6, times=1):
        self.shown, self.error, self.bad, self.times = shown, error, bad, times
        self.counted = 0

    def __call__(self):
        self.shown.clear()

        def show(step, values):
            if step == self.bad and self.counted < self.times:
                self.counted += 1
                raise self.error
            self.shown.append(step)

        return show


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("broken"), KeyError("valid/loss"), OSError(28, "No space left on device"),
        MemoryError(), SystemExit(3), ImportError("no module"), ConnectionResetError(),
        StopIteration(),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), WorkError("the tool is gone"),
        TimeoutError("1 s"), RecursionError(), ValueError(""), UserError("say so"),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_writer_of_ones_own_may_raise_anything_while_the_run_goes_on(tmp_path, said, error):
    record = Record.create(tmp_path / "run", "{}", {})
    shown: list[int] = []
    assert a_run(record, Own(shown, error), heals=lambda: wait_for(lambda: said))
    assert shown == list(STEPS)
    assert len(said) == 3
    assert type(error).__name__ in said[0] or str(error) in said[0]


def test_writer_that_always_fails_is_said_twice_and_tried_ever_more_seldom(tmp_path, capsys):
    record = Record.create(tmp_path / "run", "{}", {})
    own, began = Own([], RuntimeError("broken"), times=10**9), time.monotonic()
    views = Views({"it": own}, record.rows(), record.workdir)
    for step in STEPS:
        views(step, values(step))
    wait_for(lambda: own.counted >= 4)
    assert time.monotonic() - began >= 0.02 + 0.04 + 0.08
    tried = own.counted
    assert not views.close()
    assert own.counted <= tried + 2
    assert len(warnings(capsys)) == 4


def test_writer_that_hangs_is_not_waited_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(views_module, "PATIENCE", 0.1)
    record = Record.create(tmp_path / "run", "{}", {})
    began = time.monotonic()
    assert not a_run(record, lambda: lambda step, values: time.sleep(30))
    assert time.monotonic() - began < 15
    assert "does not show all of" in warnings(capsys)[-2]


def test_writer_that_hangs_when_it_is_built_holds_up_no_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(views_module, "PATIENCE", 0.1)
    record = Record.create(tmp_path / "run", "{}", {})
    began = time.monotonic()
    assert not a_run(record, lambda: time.sleep(30))
    assert time.monotonic() - began < 15
    assert warnings(capsys)[0] == "warning: writers.it failed: no answer for 0.1 s"


def test_slow_writer_is_waited_for_while_it_gives_signs_of_life(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(views_module, "PATIENCE", 1.0)
    record = Record.create(tmp_path / "run", "{}", {})
    shown: list[int] = []

    def slow(step, values):
        time.sleep(0.1)
        shown.append(step)

    assert a_run(record, lambda: slow)
    assert shown == list(STEPS)
    assert warnings(capsys) == []


def test_one_writer_that_hangs_holds_up_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(views_module, "PATIENCE", 1.0)
    shown: list[int] = []
    views = Views(
        {
            "hangs": lambda: lambda step, values: time.sleep(30),
            "works": lambda: lambda step, values: shown.append(step),
        }
    )
    for step in STEPS:
        views(step, {})
    assert not views.close()
    assert shown == list(STEPS)


def test_writer_that_cannot_be_closed_is_said(capsys):
    class Unclosable:
        def __call__(self, step, values): ...

        def close(self):
            raise RuntimeError("will not close")

    views = Views({"it": Unclosable}, workdir="w")
    assert not views.close()
    assert "will not close" in warnings(capsys)[0]


# Mistakes before the first step


def raising(error):
    def build():
        raise error

    return build


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (raising(UserError("writers.it.mode: no such")), "writers.it.mode: no such"),
        (raising(ModuleNotFoundError("x", name="neptune.new")), "needs the package 'neptune'"),
        (raising(TypeError("got 2 arguments")), "cannot be built: TypeError: got 2 arguments"),
        (raising(PermissionError(13, "Permission denied", "/x")), "Permission denied: '/x'"),
        (lambda: MLflow("/nonexistent", {}, uri="htp://x"), "no address of an MLflow store"),
        (lambda: MLflow("/nonexistent", {}, uri="mlruns"), "no address of an MLflow store"),
        (lambda: MLflow("/nonexistent", {}, uri="sqlite:////dev/null/x.db"), "cannot"),
        (lambda: TensorBoard("/dev/null", {}), "cannot create /dev/null/tensorboard"),
    ],
)  # fmt: skip
def test_mistake_of_a_user_is_an_error_before_the_first_step(build, told):
    with pytest.raises(UserError) as e:
        Views({"it": build})
    assert told in str(e.value)
    assert len(str(e.value).splitlines()) <= 3


@pytest.mark.parametrize("fault", ["401, the token has run out", "404, the server has moved",
                                   "200 with a page to sign in", "403"])  # fmt: skip
def test_server_that_is_none_or_lets_nobody_in_is_an_error_before_the_first_step(
    tmp_path, server, fault
):
    server.fault, server.everywhere = FAULTS[fault], True
    with pytest.raises(UserError, match=r"refuses access|does not answer as an MLflow server"):
        Views({"it": partial(MLflow, str(tmp_path), CONFIG, uri=server.uri)})


def test_missing_package_of_tensorboard_is_an_error_before_the_first_step(tmp_path, monkeypatch):
    for name in ("tensorboardX", "tensorboardX.record_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="needs the package 'tensorboardX'"):
        Views({"tensorboard": partial(TensorBoard, str(tmp_path), {})})


def test_note_names_the_run_the_store_and_the_page(tmp_path, server):
    MLflow(str(tmp_path), CONFIG, uri=server.uri)
    assert json.loads((tmp_path / "mlflow.json").read_text()) == {
        "uri": server.uri,
        "run_id": "run0",
        "link": f"{server.uri}/#/experiments/1/runs/run0",
    }
    assert find_links(str(tmp_path)) == {"MLflow": f"{server.uri}/#/experiments/1/runs/run0"}
    (tmp_path / "mlflow.json").write_text("{")
    assert find_links(str(tmp_path)) == {}
