"""What the conditions of a gate look at: a bundle, and what the registry knows besides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lepton_jax.config.gate_text import ROBUST, read_gate_text
from lepton_jax.evaluation.answered import ANSWERED, MOST_BYTES, AnsweredExamples, parse_answered
from lepton_jax.registry.verified import read_metrics
from lepton_jax.serving import loader


@dataclass(frozen=True)
class Evidence:
    """A bundle as a gate sees it. Each file is read when a condition first asks for it."""

    folder: Path
    name: str
    """What people call the bundle: 'digits/3', or its path."""
    find_production: Callable[[], "Evidence | None"] = field(default=lambda: None)
    """Finds the bundle that `production` holds; None where it holds nothing."""

    @cached_property
    def id(self) -> str:
        return loader.bundle_id(self.folder)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The numbers that were measured, `{'test/accuracy': 0.98}`."""
        return read_metrics(self.folder)

    @cached_property
    def lineage(self) -> dict[str, Any]:
        return loader.read_object(self.folder, "lineage.json")

    @cached_property
    def config_gate(self) -> tuple[str, ...]:
        """The conditions that the config of the run states; () where it states none.

        Raises:
          ValueError: when they are no text of a gate.
        """
        config = self.lineage.get("config") or {}
        gate = config.get("gate", "") if isinstance(config, dict) else config
        if not isinstance(gate, str):
            raise ValueError("expected a text")
        return read_gate_text(gate)

    @cached_property
    def verdict(self) -> dict[str, Any]:
        """The verdict of `verify` on this bundle."""
        return loader.read_object(self.folder, loader.VERDICT)

    @cached_property
    def robustness(self) -> Mapping[str, tuple[int, int]]:
        """By corruption and severity, `noise,3`, how many answers `verify` found right, of how many
        examples; empty where it measured none.
        """
        said: Any = self.verdict.get(ROBUST)
        try:
            examples = said["examples"]
            right = {str(name): int(count) for name, count in said["right"].items()}
        except (TypeError, LookupError, AttributeError, ValueError):
            return {}
        if type(examples) is not int or not all(0 <= n <= examples > 0 for n in right.values()):
            return {}
        return {name: (count, examples) for name, count in right.items()}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty where answers are no classes."""
        labels = loader.read_object(self.folder, "signature.json").get("labels") or ()
        return tuple(map(str, labels))

    @cached_property
    def answered(self) -> AnsweredExamples | None:
        """What the model answered to each example of `test`; None where it was not kept, or cannot
        be read, which `verify` refuses.
        """
        if not (self.folder / ANSWERED).exists():
            return None
        try:
            kept = parse_answered(loader.read_file(self.folder, ANSWERED, MOST_BYTES))
        except ValueError:
            return None
        return kept if max(kept.label.max(), kept.answer.max()) < len(self.classes) else None

    @cached_property
    def bytes(self) -> int:
        """The bytes of all files that the manifest lists."""
        manifest = loader.read_object(self.folder, loader.MANIFEST)
        return sum(int(file["size"]) for file in manifest["files"])

    @cached_property
    def production(self) -> "Evidence | None":
        return self.find_production()
