"""Every command as a function that a notebook can call.

Each returns a small record of what it did: `str()` of it is what the command line prints,
`as_json()` what `--json` prints. Parameters are the command's flags. Heavy modules are imported
inside, by the one command that needs them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lepton_jax.config import Config, validate
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.training.train import Run

__all__ = ["train"]


def train(
    config: Any,
    workdir: str,
    *,
    overrides: Mapping[str, str] | None = None,
    longer: bool = False,
) -> "Run":
    """Trains a config in a workdir, or goes on where its run stopped.

    --config=FILE.py[:ARG]          the recipe; also a record's config.json
    --config.path.to.key=value      overrides one key of it
    --workdir=DIR                   where the record goes: config, metrics, checkpoints, results
    --longer                        go on beyond the record's own train_for

    Examples:
      python launch.py train --config=configs/digits_cnn.py --workdir=runs/digits
      python launch.py train --config=configs/digits_cnn.py --workdir=runs/sgd \\
          --config.optimizer.name=sgd --config.optimizer.learning_rate=0.1

    SIGTERM or Ctrl-C saves and stops; the same command goes on. From Python, `config` may also be
    an ml_collections.ConfigDict or a dict.
    """
    import sys

    from lepton_jax.training import train as training

    found, notes = _config(config, overrides or {})
    for note in notes:
        print(note, file=sys.stderr)
    return training.train(found, workdir, longer=longer, command=training.default_command())


def _config(config: Any, overrides: Mapping[str, str]) -> tuple[Config, list[str]]:
    if isinstance(config, Config):
        return config, []
    if isinstance(config, str):
        from lepton_jax import config_file

        return config_file.load(config, overrides)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise UserError(f"expected a config file, a ConfigDict or a dict, got {config!r}")
    return validate(config), []
