"""Writes the command lines to try, of which a user may choose one.

Try, to download it:
    lepton train --config=mnist_lenet --config.data.source.download=true
"""

import os
import shlex
from collections.abc import Iterator, Sequence

from lepton_jax.console import format_command
from lepton_jax.errors import UserError, Way


def format_ways(ways: Sequence[Way], line: Sequence[str]) -> Iterator[str]:
    """Yields two lines for each way that fits the command line that was given: what it is for, and
    the whole line to paste.
    """
    at = next((i for i, word in enumerate(line) if word.startswith("--config=")), None)
    for way in ways:
        if bool(way.flags or way.form) != (at is not None):
            continue
        words: list[str] | None = _add_flags(line, way)
        if way.form and at is not None:
            words = _take_form(line, at, way.form)
        if words is not None:
            yield f"Try, {way.purpose}:"
            yield f"    {way.before}{format_words(words)}"


def format_words(words: Sequence[str]) -> str:
    """Returns a command line that can be pasted, of the words behind the program."""
    return format_command(" ".join(map(_quote, words)))


def _quote(word: str) -> str:
    """Quotes a word for a shell; of a flag the value alone: `--config.train_for='5 epochs'`."""
    name, sign, value = word.partition("=")
    flag = sign and name.startswith("--")
    return f"{name}={shlex.quote(value) if value else ''}" if flag else shlex.quote(word)


def _add_flags(line: Sequence[str], way: Way) -> list[str]:
    """Returns the line with the flags of a way, in the place of those that set the same keys. The
    keys of a component go with its name.
    """
    new = {f"--{name}": value for name, value in way.flags.items()}
    anew = tuple(name.removesuffix("name") for name in new if name.endswith(".name"))
    kept = [w for w in line if w.partition("=")[0] not in new and not w.startswith(anew)]
    return [*kept, *(f"{name}={value}" for name, value in new.items())]


def _take_form(line: Sequence[str], at: int, form: str) -> list[str] | None:
    """Returns the line with another form of the recipe in word `at`; None where there is no such
    form. A training gets a new folder: the one that was given is for the run that was meant.
    """
    from lepton_jax.config.recipes import find_recipe
    from lepton_jax.reference.recipes import FUNCTIONS, read_recipe

    given = line[at].removeprefix("--config=").partition(":")[0]
    try:
        forms = read_recipe(find_recipe(os.path.expanduser(given)), FUNCTIONS["recipe"]).forms
    except UserError:  # a record's config.json
        return None
    if form not in forms:
        return None
    changed = [*line[:at], f"--config={given}:{form}", *line[at + 1 :]]
    drops = line[0] == "train"
    return [
        word
        for word in changed
        if not (drops and word.startswith(("--workdir=", "--config.data.source.")))
    ]
