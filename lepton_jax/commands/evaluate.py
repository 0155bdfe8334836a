"""The command `evaluate`."""

from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.console import format_command


@dataclass(frozen=True)
class Evaluated:
    """Results of one checkpoint on one split."""

    workdir: str
    split: str
    step: int
    results: dict[str, Any]
    pictures: list[str]
    """The files of the pictures that were drawn."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        from lepton_jax.evaluation.evaluator import scalar_results

        numbers = scalar_results(self.results)
        width = max(map(len, numbers), default=0)
        lines = [f"{self.split} at step {self.step}:"]
        lines += [f"  {name:<{width}}  {value:.4f}" for name, value in numbers.items()]
        if self.pictures:
            lines.append(f"pictures: {', '.join(self.pictures)}")
        lines.append(
            f"Written to {self.workdir}/results.json; next: "
            + format_command("export", workdir=self.workdir, out=f"{self.workdir}/bundle")
        )
        return "\n".join(lines)

    __repr__ = __str__


@command
def evaluate(workdir: PathText, *, split: str = "test", checkpoint: str = "best") -> Evaluated:
    """Measures a run's checkpoint on a split and writes it into the record's results.json.

    --workdir=DIR                   a record, as `train` leaves it
    --split=test                    a split of its data, or a name of config.evals
    --checkpoint=best               best, last, or a step

    Examples:
      python launch.py evaluate --workdir=runs/digits
      python launch.py evaluate --workdir=runs/digits --split=valid --checkpoint=last
    """
    from lepton_jax.cli.looks import look_for_run, look_for_split

    look_for_run(workdir, checkpoint)
    look_for_split(workdir, split)
    from lepton_jax.io import files
    from lepton_jax.training.evaluate import evaluate_checkpoint

    measured = evaluate_checkpoint(workdir, split, checkpoint)
    pictures = [files.join_path(workdir, name) for name in measured.pictures]
    return Evaluated(workdir, split, measured.step, measured.results, pictures)
