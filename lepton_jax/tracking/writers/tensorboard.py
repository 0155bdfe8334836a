"""TensorBoard: scalars, pictures and tables as event files in `WORKDIR/tensorboard`."""

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.attachments import Attachments
from lepton_jax.tracking.writers.batches import BatchedWriter


class TensorBoard(BatchedWriter):
    """Scalars as event files in `WORKDIR/tensorboard`; see `tensorboard --logdir=WORKDIR`. The
    pictures and tables of the record follow at the end.

    In a bucket each batch of rows is an event file of its own, as a bucket cannot append.

    On a disk the batches of one process go into one file. What an earlier life wrote is removed
    and the whole record written again, so nothing that a kill left behind can be shown.
    """

    def __init__(self, workdir: str, config: Mapping[str, Any]):
        import tensorboardX.record_writer  # noqa: F401  what cannot be imported is an error here

        super().__init__()
        folder = files.join_path(workdir, "tensorboard")
        self._folder, self._local = folder, files.is_local(folder)
        self.seconds = 1.0 if self._local else 30.0
        self._stem = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._files = 0
        files.make_dir(folder)
        for name in files.list_folder(folder) if files.is_dir(folder) else ():
            if name.startswith("events.out.tfevents."):
                path = files.join_path(folder, name)
                # A TensorBoard that has the file open stays on it for ever if it goes away, but
                # goes on to the next one from the end of an empty file.
                files.write_bytes(path, b"") if self._local else files.remove(path)

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        from tensorboardX.proto.event_pb2 import Event

        now = time.time()
        events = []
        for step, values in rows:
            event = Event(wall_time=now, step=step)
            for name, value in values.items():
                event.summary.value.add(tag=name, simple_value=value)
            events.append(event)
        self._write(events)

    def send_attachments(self, attachments: Attachments) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.summary import text

        now, step = time.time(), attachments.step
        events = []
        for name, data in attachments.pictures.items():
            width, height = struct.unpack(">II", data[16:24])  # of the header of a PNG
            image = Summary.Image(width=width, height=height, encoded_image_string=data)
            value = Summary.Value(tag=name, image=image)
            events.append(Event(wall_time=now, step=step, summary=Summary(value=[value])))
        for name, rows in attachments.tables.items():
            events.append(Event(wall_time=now, step=step, summary=text(name, markdown_table(rows))))
        if events:
            self._write(events)

    def _write(self, events: list[Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        now, before = time.time(), []
        if not self._local or self._files == 0:
            before.append(Event(wall_time=now, file_version="brain.Event:2"))
        if self._files == 0:  # makes a TensorBoard that is already open forget the former life
            start = SessionLog(status=SessionLog.START)
            before.append(Event(wall_time=now, step=events[0].step, session_log=start))
        events = before + events
        data = b"".join(_frame(e.SerializeToString()) for e in events)
        if self._local:
            path = files.join_path(self._folder, self._stem)
            if self._files and not files.exists(path):
                raise WorkError(f"{path} was removed")
            files.append_bytes(path, data)
        else:
            files.write_bytes(
                files.join_path(self._folder, f"{self._stem}.{self._files:06d}"), data
            )
        self._files += 1


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Writes rows as a table in Markdown, with the columns of the first one."""
    columns = list(rows[0])

    def write(cell: Any) -> str:
        text = f"{cell:.4g}" if isinstance(cell, float) else str(cell)
        return " ".join(text.split()).replace("|", "\\|")

    def line(cells: Sequence[Any]) -> str:
        return f"| {' | '.join(map(write, cells))} |"

    body = [line([row.get(column, "") for column in columns]) for row in rows]
    return "\n".join([line(columns), "|---" * len(columns) + "|", *body])


def _frame(data: bytes) -> bytes:
    """Frames data as a TFRecord: length, its checksum, the data, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    header = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (header, data)]
    return header + checksums[0] + data + checksums[1]
