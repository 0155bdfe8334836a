"""The command `augment`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText, PositiveInt

DRAWS = 6
"""How often each example is drawn."""


@dataclass(frozen=True)
class Augmented:
    """A picture that was drawn: a row an example, first as it came."""

    path: str
    examples: int
    augment: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.examples} training examples, first as they come, then {DRAWS} times through "
            f"{self.augment or 'no augmentation'}: {self.path}"
        )


@command
def augment(
    config: Any,
    *,
    overrides: Mapping[str, str] | None = None,
    out: PathText = "augmented.png",
    examples: PositiveInt = 6,
) -> Augmented:
    """Draws training images, and beside each how several steps augment it.

    --config=NAME[:ARG]             a recipe by its name or FILE.py; its data.train_decode and
                                    data.augment are shown
    --config.path.to.key=value      overrides one key of it
    --out=augmented.png             where the picture goes
    --examples=6                    images, a row each: the first of the run's first batch

    Examples:
      python launch.py augment --config=digits_cnn
      python launch.py augment --config=digits_cnn --out=mixed.png \\
          --config.data.augment='flip|mixup(0.2)'
    """
    from lepton_jax.cli.looks import look_for_picture
    from lepton_jax.config.config_file import resolve_config

    look_for_picture("augment", out)
    resolved, _ = resolve_config(config, overrides or {})

    from lepton_jax.training.augment import draw_augmentations

    return Augmented(out, examples, draw_augmentations(resolved, out, examples, DRAWS))
