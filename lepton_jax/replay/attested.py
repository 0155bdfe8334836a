"""Replays the run of a bundle, for whoever is about to state how the bundle was made."""

from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError, WorkError
from lepton_jax.replay.replay import replay_run
from lepton_jax.serving import loader
from lepton_jax.tracking.state_chain import StateFile


def replay_for(folder: Path, workdir: str, spans: int) -> dict[str, Any]:
    """Replays the run in `workdir`, of which the intact bundle in `folder` must be.

    Returns:
      What was drawn and compared, as a statement holds it.

    Raises:
      UserError: when the bundle is of another run.
      WorkError: when the record does not hold.
    """
    try:
        chain = loader.read_object(folder, "lineage.json").get("chain") or {}
    except loader.BundleError as e:
        raise WorkError(str(e)) from None
    links = [{"step": link.step, "link": link.link} for link in StateFile(workdir).links()]
    if {"step": chain.get("step"), "link": chain.get("link")} not in links:
        raise UserError(
            f"--workdir={workdir}: {folder} is not of this run: its lineage.json names another "
            "line of states.jsonl, or none"
        )
    verdict = replay_run(workdir, spans=spans)
    if not verdict.ok:
        raise WorkError(f"{folder} is not signed: its run does not hold\n{verdict}")
    said = verdict.as_json()
    return {
        "all_spans": said["all_spans"],
        "compared": said["compared"],
        "draws": said["draws"],
        "seed": said["seed"],
        "spans": [[s["start"], s["end"]] for s in said["spans"] if not s["skipped"]],
    }
