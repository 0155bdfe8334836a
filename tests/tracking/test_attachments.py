"""What trackers show of a run beside its curves: its pictures and its texts."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from lepton_jax.tracking.attachments import read_attachments
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers.batches import BatchedWriter
from lepton_jax.tracking.writers.tensorboard import TensorBoard, markdown_table
from lepton_jax.tracking.writers.views import Views
from lepton_jax.tracking.writers.wandb import WandB

TRANSLATIONS = [{"source": "ein Hund", "answer": "a | dog"}, {"source": "zwei", "answer": "two"}]


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "#016351").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def record(tmp_path) -> Record:
    """The record of a run that was measured at step 20, with its pictures."""
    record = Record.create(tmp_path / "run", "{}", {})
    results = {"bleu": 38.0, "translations": TRANSLATIONS, "worst": [{"example": 1, "loss": 2.0}]}
    record.write_results("test", {**results, "step": 20})
    record.write_results("checkpoint", {"step": 20, "best": "valid/loss"})
    (tmp_path / "run" / "confusion.png").write_bytes(png(70, 30))
    return record


def end_run(record: Record, writer) -> None:
    rows = [{"step": 10, "train/loss": 1.0}, {"step": 20, "train/loss": 0.5}]
    views = Views({"it": writer}, rows, record.workdir, lambda: read_attachments(record))
    views.close()


def test_a_run_that_was_not_measured_has_nothing_to_attach(tmp_path):
    record = Record.create(tmp_path, "{}", {})
    (tmp_path / "confusion.png").write_bytes(png(7, 3))
    assert read_attachments(record) is None


def test_tensorboard_shows_the_pictures_and_texts_of_a_run(record):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # as a finished run does that is started again
        end_run(record, lambda: TensorBoard(record.workdir, {}))
    events = EventAccumulator(record.path("tensorboard"))
    events.Reload()
    (image,) = events.Images("confusion")
    assert (image.step, image.width, image.height) == (20, 70, 30)
    assert image.encoded_image_string == png(70, 30)
    (table,) = events.Tensors("test/translations/text_summary")
    assert table.tensor_proto.string_val[0].decode() == markdown_table(TRANSLATIONS)
    assert [e.step for e in events.Scalars("train/loss")] == [10, 20]


def test_a_table_in_markdown_keeps_its_cells_apart():
    assert markdown_table([{"name": "cat", "f1": 0.97142857, "examples": 36}]).splitlines()[2] == (
        "| cat | 0.9714 | 36 |"
    )
    assert markdown_table(TRANSLATIONS).splitlines() == [
        "| source | answer |", "|---|---|", "| ein Hund | a \\| dog |", "| zwei | two |",
    ]  # fmt: skip


def test_pictures_that_a_tool_refuses_leave_the_numbers_whole(record, capsys):
    sent = []

    class Broken(BatchedWriter):
        def send(self, rows):
            sent.extend(step for step, _ in rows)

        def send_attachments(self, attachments):
            raise OSError("no room for pictures")

    end_run(record, Broken)
    assert sent == [10, 20]
    assert "Broken does not show the pictures" in capsys.readouterr().err


@pytest.mark.slow
def test_wandb_keeps_the_pictures_and_tables(record):
    pytest.importorskip("wandb")
    end_run(record, lambda: WandB(record.workdir, {}))
    media = list(Path(record.workdir).glob("wandb/offline-run-*/files/media/**/*.*"))
    assert [Image.open(p).size for p in media if p.suffix == ".png"] == [(70, 30)]
    (table,) = (p for p in media if p.name.endswith(".table.json"))
    assert json.loads(table.read_text())["data"][1] == ["zwei", "two"]
