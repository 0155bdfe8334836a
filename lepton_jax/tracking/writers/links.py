"""Where the trackers of a run show it, as their writers have noted it in its workdir."""

from contextlib import suppress

from lepton_jax.errors import WorkError
from lepton_jax.io import files

NOTES = {"MLflow": "mlflow.json", "W&B": "wandb.json"}


def find_links(workdir: str) -> dict[str, str]:
    """Finds the addresses at which trackers show the run in `workdir`, by the trackers' names.

    One that keeps its runs on this machine has none.
    """
    links = {}
    for tracker, name in NOTES.items():
        path = files.join_path(workdir, name)
        with suppress(WorkError):  # damaged: whoever writes there next says so
            if files.exists(path) and (link := files.read_object(path).get("link")):
                links[tracker] = str(link)
    return links
