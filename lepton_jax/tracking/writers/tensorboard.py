"""TensorBoard: scalars as event files in `WORKDIR/tensorboard`."""

import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.writers.batches import BatchedWriter


class TensorBoard(BatchedWriter):
    """Scalars as event files in `WORKDIR/tensorboard`; see `tensorboard --logdir=WORKDIR`.

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


def _frame(data: bytes) -> bytes:
    """Frames data as a TFRecord: length, its checksum, the data, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    header = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (header, data)]
    return header + checksums[0] + data + checksums[1]
