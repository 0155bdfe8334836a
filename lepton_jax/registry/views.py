"""What the registry holds, for people to read: `list`, `show` and `diff`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_jax.console import format_command, format_table
from lepton_jax.registry.store import Registry
from lepton_jax.registry.version import Version
from lepton_jax.serving import loader
from lepton_jax.signing.signer import Signer, describe_signer
from lepton_jax.trees import flatten_dict


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


@dataclass(frozen=True)
class VersionDifference:
    """What differs between two versions: `(what, in the first, in the second)`."""

    first: str
    second: str
    rows: tuple[tuple[str, Any, Any], ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rows = [(k, *(_shorten(v) for v in values)) for k, *values in self.rows]
        lines = format_table([("", self.first, self.second), *rows]) if rows else []
        same = [] if rows else [f"{self.first} and {self.second} are the same bundle"]
        model = self.second.partition("/")[0]
        following = format_command("registry history", model=model)
        return "\n".join([*lines, *same, f"next: {following}"])


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


def diff_versions(first: str, second: str) -> VersionDifference:
    """Compares what two versions state: metrics, config, lineage, signature, digests of files.

    Args:
      first, second: references such as 'NAME/1' and 'NAME@staging'.

    Raises:
      UserError: when there is no such version.
      WorkError: when the registry's copy of one is damaged.
    """
    registry = Registry()
    versions = [registry.resolve(reference) for reference in (first, second)]
    a, b = (_statements(registry.fetch(v)) for v in versions)
    rows = tuple(
        (key, a.get(key), b.get(key))
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    )
    return VersionDifference(versions[0].name, versions[1].name, rows)


def _statements(folder: Path) -> dict[str, Any]:
    statements: dict[str, Any] = {}
    for name in ("lineage", "metrics", "signature"):
        statements |= flatten_dict({name: loader.read_object(folder, f"{name}.json")})
    manifest = loader.read_object(folder, loader.MANIFEST)
    digests = {f"file {f['path']}": f["sha256"][:12] for f in manifest["files"]}
    # The JSON files are compared above, statement by statement.
    compared = statements | {k: v for k, v in digests.items() if not k.endswith(".json")}
    return {k: v for k, v in compared.items() if v != {}}


def _shorten(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
