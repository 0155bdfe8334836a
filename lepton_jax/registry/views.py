"""What the registry holds, for people to read: `list` and `show`."""

from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.console import format_command, format_table
from lepton_jax.registry.store import Registry
from lepton_jax.registry.version import Version
from lepton_jax.signing.signer import Signer, describe_signer


@dataclass(frozen=True)
class ModelList:
    """Every model of the registry with its newest version and its aliases."""

    where: str
    models: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rows = [
            (
                m["model"],
                str(m["versions"]),
                ", ".join(f"{a}={v}" for a, v in m["aliases"].items()) or "-",
            )
            for m in self.models
        ]
        lines = (
            format_table([("model", "versions", "aliases"), *rows]) if rows else ["no models yet"]
        )
        hint = "show --model=NAME" if rows else "register --bundle=DIR --model=NAME"
        command = f"registry {hint}" if rows else hint
        return "\n".join([*lines, f"The registry is {self.where}; next: {format_command(command)}"])


@dataclass(frozen=True)
class ModelDetails:
    """One model: its gate, aliases and versions, and who is said to have signed each of them."""

    model: str
    gate: tuple[str, ...]
    versions: tuple[Version, ...]
    signers: tuple[Signer, ...]
    """One for each version, by the key that the registry names; `promote` checks the signature."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        names = sorted({k for v in self.versions for k in v.metrics if k.startswith("test/")})
        names = [n for n in names if n.count("/") == 1]
        rows = [
            (
                str(v.version),
                ", ".join(v.aliases) or "-",
                v.id.removeprefix("sha256:")[:12],
                v.created,
                signer.short(),
                *(f"{v.metrics[n]:.4g}" if n in v.metrics else "-" for n in names),
            )
            for v, signer in zip(self.versions, self.signers, strict=True)
        ]
        asked = ", ".join(("verified", *self.gate))
        lines = [f"{self.model}, gate: {asked}"]
        lines += format_table(
            [("version", "aliases", "bundle", "registered", "signed by", *names), *rows]
        )
        following = format_command("promote", model=f"{self.model}/VERSION")
        return "\n".join([*lines, f"next: {following}"])


def list_models() -> ModelList:
    """Lists every registered model."""
    registry = Registry()
    models = [
        {"model": m, "versions": len(registry.versions(m)), "aliases": registry.aliases(m)}
        for m in registry.models()
    ]
    return ModelList(registry.where, tuple(models))


def show_model(model: str) -> ModelDetails:
    """Reads a model's gate, and its versions with aliases, metrics and signers, oldest first.

    Raises:
      UserError: when there is no such model.
    """
    registry = Registry()
    versions = tuple(registry.versions(model))
    signers = tuple(describe_signer(v.signer) for v in versions)
    return ModelDetails(model, registry.gate(model), versions, signers)
