"""A retrain request: which model, by which kept requests, and what an alarm took for the cause."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.io.timestamps import utc_timestamp

FORMAT = 1
REQUEST = "retrain.json"
"""Its name in the workdir of an improvement."""


@dataclass(frozen=True)
class RetrainRequest:
    """What `improve` is asked to do: an alarm of `monitor` writes one, or `improve` makes it."""

    model: str
    """The name in the registry; what `production` points to is improved."""
    requests: str
    """The folder with kept requests."""
    cause: Mapping[str, Any] | None = None
    """The likely cause of an alarm: its `name` and `strength`, and the `transform`, with its
    `arguments`, by which a model learns to bear it; '' where none does. None: there was no alarm.
    """

    @property
    def augment(self) -> str:
        """The transform to train with, 'brightness(strength=0.4)'; '' of none."""
        if not self.cause or not self.cause["transform"]:
            return ""
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.cause["arguments"].items())
        return f"{self.cause['transform']}({arguments})"

    def write(self, path: str) -> None:
        """Writes the request to a file, which `read_request` reads."""
        files.write_json(path, {**asdict(self), "time": utc_timestamp(), "format": FORMAT})


def read_request(path: str) -> RetrainRequest:
    """Reads a retrain request.

    Raises:
      UserError: when the file is none.
    """
    if not files.exists(path):
        raise UserError(
            f"--request={path}: there is no such file{files.name_nearest(path)}; expected what "
            "`monitor --retrain_request=FILE` writes at an alarm"
        )
    try:
        said = files.read_object(
            path, cure="Ask `monitor` for another one",
            model=str, requests=str, cause=dict | None, time=str, format=int,
        )  # fmt: skip
        cause = said["cause"]
        if cause is not None:
            _check_cause(cause)
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']}, expected {FORMAT}; update lepton_jax")
    except (WorkError, LookupError, TypeError, ValueError) as e:
        raise UserError(f"--request={path} is no retrain request: {e!s:.200}") from None
    return RetrainRequest(said["model"], said["requests"], cause)


def _check_cause(cause: Mapping[str, Any]) -> None:
    """Raises an error where a cause says more than a transform's name and plain numbers."""
    if cause["transform"] and not str(cause["transform"]).isidentifier():
        raise ValueError(f"cause.transform: {cause['transform']!r:.40} is no transform")
    for name, value in cause["arguments"].items():
        if not (name.isidentifier() and isinstance(value, int | float)):
            raise ValueError(f"cause.arguments: {name!r:.40} = {value!r:.40} is no number")
