"""`python -m lepton_jax COMMAND`: what `launch.py` does, where there is only the package."""

from lepton_jax.cli.run import main
from lepton_jax.commands.worker import all_commands

if __name__ == "__main__":
    main(all_commands())
