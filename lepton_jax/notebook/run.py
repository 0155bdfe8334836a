"""A run as a Python object: its config, its curves, its model, and answers of the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lepton_jax.errors import UserError
from lepton_jax.notebook.answers import Answers, answer_with
from lepton_jax.notebook.html import format_picture, format_rows, format_title
from lepton_jax.notebook.metrics_table import make_metrics_table
from lepton_jax.notebook.split_results import SplitResults, name_results

if TYPE_CHECKING:
    from flax import nnx
    from matplotlib.figure import Figure
    from ml_collections import FrozenConfigDict

    from lepton_jax.data.dataset import Dataset
    from lepton_jax.notebook.images import GeneratedImages
    from lepton_jax.notebook.trained_model import TrainedModel
    from lepton_jax.tracking.record import Record
    from lepton_jax.training.saved import SavedRun

PICTURES = ("curves", "confusion", "detections", "samples", "attention", "mistakes")
"""The pictures of a record that a notebook shows, in this order."""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A run of which there is a record. Data and weights are read when they are first asked for.

    The model is that of the best checkpoint, or of the one that `load` was asked for.
    """

    workdir: str
    step: int
    """How many steps the record is of."""
    results: Mapping[str, Any]
    """By split, what was measured at the end: `run.results["test"]["accuracy"]`."""
    wanted: str = field(default="best", kw_only=True)
    """The checkpoint: 'best', 'last' or a step."""

    @cached_property
    def record(self) -> "Record":
        """The files of the workdir."""
        from lepton_jax.tracking.record import Record

        return Record.open(self.workdir)

    @cached_property
    def config(self) -> "FrozenConfigDict":
        """The config with every default: `train(run.config, overrides={"seed": 1})`."""
        from ml_collections import FrozenConfigDict

        return FrozenConfigDict(self.record.config())

    @property
    def metrics(self) -> Any:
        """What was logged: a pandas DataFrame, or a dict of columns `[S]` where there is no pandas.

        The columns are `step`, `train/loss`, `valid/loss` ...; NaN where nothing was measured.
        """
        return make_metrics_table(self.record.rows())

    @property
    def history(self) -> "Figure":
        """The learning curves: a panel a metric, a line a split, the measured checkpoint marked."""
        from lepton_jax.plots.figures import render_figure
        from lepton_jax.plots.learning_curves import compose_learning_curves, mark_checkpoint

        figure = compose_learning_curves(self.record.rows(), mark_checkpoint(self.record))
        # IPython draws a figure by itself only where pyplot has been imported.
        vars(figure)["_repr_png_"] = lambda: render_figure(figure)
        return figure

    @property
    def checkpoint(self) -> int:
        """The step of the checkpoint whose weights `params` and `module` hold."""
        from lepton_jax.training.saved import checkpoint_step

        return checkpoint_step(self.workdir, self.wanted)

    @property
    def data(self) -> "Dataset":
        """The data as the run had them: `run.data.splits["test"].columns["label"]`."""
        return self._saved.data

    @cached_property
    def params(self) -> Any:
        """The parameters that are evaluated, as nested dicts of JAX arrays.

        They are the moving average, where the run kept one.
        """
        return self._saved.program.training.variables(self._saved.state)[0]

    @property
    def module(self) -> "nnx.Module":
        """The Flax NNX module with these parameters, each time a new one.

        `run.module(x)` evaluates: `x` is prepared as `prepare` does, and there is no `noise`.
        """
        program = self._saved.program
        return program.parts.functional.merge(*program.training.variables(self._saved.state))

    def prepare(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns raw fields `[N, ...]` as the model gets them: through `data.prepare`, in the
        config's precision.
        """
        from lepton_jax.training.runtime import runtime

        with runtime(self.config.precision):
            return dict(self._saved.program.parts.prepare(fields))

    def predict(self, inputs: Any = None, *, examples: int = 0, kind: str = "") -> Answers:
        """Answers raw inputs, as the run's bundle would.

        Args:
          inputs: one or a list of arrays, Pillow images, files, texts or seeds; or a dict of the
            input fields, `[N, ...]` each.
          examples: so many examples of `test` are answered too, with the truth beside.
          kind: your own kind of answer, 'my_pkg.module:Name'.

        Raises:
          UserError: when an input is not what the model takes.
        """
        source = f"{self.workdir}, step {self._saved.step}"
        return answer_with(self._model, source, inputs, examples, kind)

    def evaluate(self, split: str = "test") -> SplitResults:
        """Measures the checkpoint on a split, or on one of the config's `evals`.

        The record stays as it is; `lepton_jax.evaluate(workdir, split=...)` writes it there.

        Raises:
          UserError: when there is no such split.
        """
        from lepton_jax.training.build import build_evaluations
        from lepton_jax.training.layout import single_device_layout
        from lepton_jax.training.runtime import runtime

        saved = self._saved
        with runtime(self.config.precision):
            placement = single_device_layout(saved.program).placement
            evaluations = build_evaluations(saved.program, placement, saved.data)
            return SplitResults(evaluations.split(saved.state, split))

    @cached_property
    def samples(self) -> "GeneratedImages":
        """Images of the seeds 0, 1 ..., of a model that generates images.

        Raises:
          UserError: when the model generates none.
        """
        from lepton_jax.evaluation.samples import generate_samples
        from lepton_jax.notebook.images import GeneratedImages
        from lepton_jax.training.layout import single_device_layout
        from lepton_jax.training.runtime import runtime

        saved = self._saved
        with runtime(self.config.precision):
            placement = single_device_layout(saved.program).placement
            images = generate_samples(saved.program, placement, saved.state)
        if images is None:
            raise UserError(
                f"a run of {self.config.task.name} generates no images; predict(examples=8) shows "
                "its answers, and lepton_jax.generate(workdir=...) the texts of a language model"
            )
        return GeneratedImages(images)

    @cached_property
    def _saved(self) -> "SavedRun":
        from lepton_jax.training.runtime import runtime
        from lepton_jax.training.saved import load_run

        with runtime(self.config.precision):
            return load_run(self.workdir, self.wanted)

    @cached_property
    def _model(self) -> "TrainedModel":
        from lepton_jax.notebook.trained_model import TrainedModel

        return TrainedModel(self._saved)

    def __repr__(self) -> str:
        test = self.results.get("test")
        measured = f"; test: {SplitResults(test)!r}" if test else ""
        return f"Run({self.workdir!r}, step {self.step}{measured})"

    def _repr_html_(self) -> str:
        config = self.config
        state = self.record.status().get("state", "not ended")
        facts = [
            ("model", config.model.name),
            ("task", config.task.name),
            ("data", config.data.source.name),
            ("step", f"{self.step:,} ({state})"),
        ]
        numbers = {s: SplitResults(r).numbers for s, r in self.results.items() if s != "checkpoint"}
        facts += [(f"{s}/{k}", f"{v:.4g}") for s, of_s in numbers.items() for k, v in of_s.items()]
        return format_title(self.workdir) + format_rows(facts) + "".join(self._pictures())

    def _pictures(self) -> list[str]:
        from lepton_jax.io import files

        paths = {name: self.record.path(f"{name}.png") for name in PICTURES}
        drawn = {name: files.read_bytes(p) for name, p in paths.items() if files.exists(p)}
        if "curves" not in drawn and self.record.has_rows():
            drawn = {"curves": getattr(self.history, "_repr_png_")(), **drawn}  # noqa: B009
        return [
            format_picture(png, f"{name}.png", "100%" if name == "curves" else "48%")
            for name, png in drawn.items()
        ]


def open_run(workdir: str, wanted: str = "best") -> Run:
    """Opens the run in a workdir as its record is now.

    Raises:
      UserError: when there is no record.
      WorkError: when the record is damaged.
    """
    from lepton_jax.tracking.record import Record

    record = Record.open(workdir)
    ended = record.status().get("step")
    rows = record.rows()
    step = ended if ended is not None else rows[-1]["step"] if rows else 0
    return Run(workdir, step, name_results(record.results()), wanted=wanted)
