"""The program of a run: its pure functions, built once from a config and the shape of its data.

It knows nothing of devices; `layout.py` says where the functions run.
"""

from lepton_jax.config.config import Config
from lepton_jax.data.spec import DataSpec
from lepton_jax.training.durations import Durations
from lepton_jax.training.inference import Inference
from lepton_jax.training.parts import Parts
from lepton_jax.training.scoring import Scoring
from lepton_jax.training.step import TrainingStep


class Program:
    """What a config computes on data of the shape `spec`, with `train_examples` an epoch.

    Raises:
      UserError: when its parts do not fit each other or the data.
    """

    def __init__(self, config: Config, spec: DataSpec, train_examples: int):
        self.config = config
        self.spec = spec
        self.train_examples = train_examples
        self.durations = Durations(config, train_examples)
        self.parts = Parts(config, spec)
        self.inference = Inference(self.parts)
        self.training = TrainingStep(self.parts, self.durations)
        self.scoring = Scoring(self.parts, self.training, self.inference.answer)
