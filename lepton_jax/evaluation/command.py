"""The command `evaluate`: a checkpoint of a record, measured on one split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_jax.evaluation.alignment import align_examples
from lepton_jax.evaluation.evaluator import scalar_results
from lepton_jax.evaluation.samples import generate_samples
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.plots.record import draw_record
from lepton_jax.tracking.claim import claim
from lepton_jax.training import saved
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.runtime import runtime


@dataclass(frozen=True)
class Evaluated:
    """Results of one checkpoint on one split."""

    workdir: str
    split: str
    step: int
    results: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "workdir": self.workdir,
            "split": self.split,
            "step": self.step,
            "results": dict(self.results),
        }

    def __str__(self) -> str:
        numbers = scalar_results(self.results)
        width = max(map(len, numbers), default=0)
        lines = [f"{self.split} at step {self.step}:"]
        lines += [f"  {name:<{width}}  {value:.4f}" for name, value in numbers.items()]
        return "\n".join(
            [
                *lines,
                f"Written to {self.workdir}/results.json; next: "
                f"python launch.py export --workdir={self.workdir} --out={self.workdir}/bundle",
            ]
        )


def evaluate(workdir: str, split: str, checkpoint: str) -> Evaluated:
    """Measures and records; `test` results say by their step which checkpoint they are of.

    Raises:
      UserError: when there is no record, checkpoint or split of that name.
    """
    config = saved.read_config(workdir)
    with claim(workdir), runtime(config.precision):
        run = saved.load_run(workdir, checkpoint)
        placed = single_device_layout(run.program)
        results = Evaluations(placed, run.data).split(run.state, split)
        run.record.write_results(split, {**results, "step": run.step})
        aligned = align_examples(placed, run.state, run.data.splits.get(split))
        draw_record(run.record, run.data, generate_samples(placed, run.state), aligned, split)
        return Evaluated(workdir, split, run.step, results)
