"""The command `completion`."""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_jax.cli.arguments import command
from lepton_jax.errors import choice_error


@dataclass(frozen=True)
class Completion:
    """What a shell reads: its script, or the words that may stand at the end of a line."""

    lines: tuple[str, ...]

    def as_json(self) -> list[str]:
        return list(self.lines)

    def __str__(self) -> str:
        return "\n".join(self.lines)


@command
def completion(inputs: Sequence[str] = (), *, line: str = "") -> Completion:
    """Prints what makes a shell complete `lepton`: commands, flags, recipes and keys of a config.

    SHELL                           bash, zsh or fish
    --line=LINE                     what may be at the end of this line, as the shell asks

    Examples:
      eval "$(lepton completion bash)"      # in ~/.bashrc; zsh: in ~/.zshrc
      lepton completion fish | source       # in ~/.config/fish/config.fish
    """
    from lepton_jax.cli.completion import SCRIPTS, complete_line
    from lepton_jax.commands import COMMANDS

    if line:
        return Completion(tuple(complete_line(COMMANDS, line)))
    if len(inputs) != 1 or inputs[0] not in SCRIPTS:
        raise choice_error("completion: no shell", " ".join(inputs), SCRIPTS)
    return Completion(tuple(SCRIPTS[inputs[0]].splitlines()))
