"""A version of a named model: what the registry says of a bundle that was registered."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.console import format_command
from lepton_jax.errors import UserError
from lepton_jax.signing.signer import describe_signer

_NAME = re.compile(r"[\w.\-]+")


@dataclass(frozen=True)
class Version:
    """One version of a named model."""

    model: str
    version: int
    id: str
    created: str
    run: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]
    signer: str = ""
    """The id of the key that signed the bundle, as it says itself; '' of one without signature."""

    @property
    def name(self) -> str:
        return f"{self.model}/{self.version}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        signed = f"signed {describe_signer(self.signer)}\n" if self.signer else ""
        return (
            f"{self.name} is {self.id}, registered {self.created}\n{signed}"
            f"next: {format_command('promote', model=self.name, to='staging')}"
        )


def check_name(model: str) -> None:
    """Raises `UserError` when `model` cannot be the name of a registered model."""
    if not _NAME.fullmatch(model):
        meant = re.sub(r"[^\w.-]+", "-", model, flags=re.ASCII).strip("-")
        said = "a model's name is made of letters, digits, '_', '-' and '.'"
        if whole := re.fullmatch(r"([^@/]+)(@.*|/\d+)", model):
            meant, said = whole[1], "expected the name alone, without a version or an alias"
        raise UserError(
            f"--model={model}: {said}",
            instead=(f"--model={model}", f"--model={meant}") if _NAME.fullmatch(meant) else None,
        )
