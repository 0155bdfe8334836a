"""The config of a record: validated, and checked to be the one that the run was trained with."""

from lepton_jax.config.config import Config, list_differences
from lepton_jax.config.validation import validate_config
from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.tracking.chain import text_digest
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoint_files import newest_basis


def read_config(workdir: str) -> Config:
    """Reads and validates the config of a record.

    Raises:
      UserError: when config.json was edited, naming the keys.
    """
    record = Record.open(workdir)
    file = record.path("config.json")
    config = validate_config(record.config(), file)
    starts = record.starts()
    # By its bytes, or by its fingerprint: other spaces and other running keys do no harm.
    if text_digest(record.config_text()) in {start.get("config") for start in starts}:
        return config
    if config.fingerprint() in {start.get("fingerprint") for start in starts}:
        return config
    basis = newest_basis(workdir)
    if basis is None and "config" not in starts[0]:  # of lepton_jax 0.1, by its fingerprint alone
        say(f"warning: {file} has another fingerprint than the run had; was it edited?")
        return config
    was = validate_config(basis.config, file) if basis else None
    edited = list_differences(was, config) if was else ["no checkpoint says what"]
    if edited:  # else a component has other keys than it had
        raise UserError(
            f"{file} was edited after the run began ({'; '.join(edited[:5])}): put that back, or "
            "train the new config in another --workdir"
        )
    return config
