"""Weights & Biases: a run in `WORKDIR/wandb`, which `wandb sync` uploads if it was offline."""

import io
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from lepton_jax.errors import UserError, WorkError
from lepton_jax.installation import format_install
from lepton_jax.io import files
from lepton_jax.tracking.attachments import Attachments
from lepton_jax.tracking.writers.batches import BatchedWriter, read_note


class WandB(BatchedWriter):
    """A Weights & Biases run in `WORKDIR/wandb`. Offline, `wandb sync` uploads it later. The
    pictures and tables of the record follow at the end.

    A workdir has one W&B run, which `wandb.json` names. Online, the server says how far its history
    goes. Offline, W&B writes its file so late that a kill loses most of it: the file of a former
    life is replaced by one that holds the whole record. If that file was uploaded already it stays,
    and the whole record becomes a run of a new id.

    Keys:
      project: the W&B project that the run belongs to.
      mode: whether rows go to the server at once, stay in files for `wandb sync`, or nowhere.
    """

    def __init__(
        self,
        workdir: str,
        config: Mapping[str, Any],
        *,
        project: str = "lepton_jax",
        mode: Literal["offline", "online", "disabled"] = "offline",
    ):
        try:
            import wandb
        except ImportError as e:
            cure = format_install("wandb")
            raise UserError(f"writers.wandb needs the package wandb: {cure}") from e
        local = files.is_local(workdir)
        if mode == "offline" and not local:
            raise UserError(
                f"writers.wandb.mode = 'offline' keeps a folder on a disk, but the workdir is "
                f"{workdir}; choose 'online', or a local workdir"
            )
        note = files.join_path(workdir, "wandb.json")
        id_ = read_note(note, "id").get("id")
        if id_ is None or (mode == "offline" and not _forget_offline(workdir, id_)):
            id_ = uuid4().hex[:8]
            files.write_json(note, {"id": id_})
        folder = files.join_path(workdir, "wandb")
        if local and mode != "disabled":  # W&B itself would go to a temporary folder
            files.make_dir(folder)
            if not os.access(folder, os.W_OK):
                raise UserError(f"cannot write {folder}: permission denied")
        try:
            self._run = wandb.init(
                project=project,
                mode=mode,
                id=id_,
                resume="allow",
                dir=workdir if local else None,
                name=os.path.basename(workdir.rstrip("/")),
                config=dict(config),
                settings=wandb.Settings(
                    silent=True, console="off", disable_git=True, save_code=False
                ),
            )
        except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as e:
            raise UserError(
                f"writers.wandb.mode={mode}: {str(e).splitlines()[0]}; log in (wandb login), or "
                "choose 'offline'"
            ) from e
        if mode == "online":
            files.write_json(note, {"id": id_, "link": self._run.url})
        self._offline = folder if mode == "offline" else ""
        super().__init__(since=self._run.starting_step)

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        try:
            for step, values in rows:
                self._run.log(values, step=step)
        except Exception:
            with suppress(Exception):  # W&B has one run a process: the next try needs another
                self._run.finish(exit_code=1)
            raise

    def send_attachments(self, attachments: Attachments) -> None:
        import wandb
        from PIL import Image

        shown: dict[str, Any] = {
            f"pictures/{name}": wandb.Image(Image.open(io.BytesIO(data)))
            for name, data in attachments.pictures.items()
        }
        for name, rows in attachments.tables.items():
            columns: list[str | int] = list(rows[0])
            cells = [[str(row.get(str(column), "")) for column in columns] for row in rows]
            shown[f"tables/{name}"] = wandb.Table(columns=columns, data=cells)
        if shown:
            self._run.log(shown)

    def close(self) -> None:
        self.flush()
        self._run.finish()
        if self._offline and not list(Path(self._offline).glob(f"offline-run-*-{self._run.id}")):
            raise WorkError(f"{self._offline} was removed while the run went on")


def _forget_offline(workdir: str, id_: str) -> bool:
    """Removes the offline files of a W&B run; tells whether none was uploaded and all are gone."""
    folders = list(Path(workdir).glob(f"wandb/offline-run-*-{id_}"))
    if any(folder.joinpath(f"run-{id_}.wandb.synced").exists() for folder in folders):
        return False
    try:
        for folder in folders:
            shutil.rmtree(folder)
    except OSError:  # W&B's own process outlives a killed run, and may still write there
        return False
    return True
