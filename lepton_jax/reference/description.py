"""What is shown of a component or a section: a few sentences, and every key."""

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.config.schema import HYPER, REQUIRED, RUNNING, Key
from lepton_jax.console import format_command
from lepton_jax.reference.types import format_default, format_type

VARIES = "trials may vary it"
VARIES_MEANS = "Trials that differ only in keys that trials may vary share one compiled program."
RUNS = "running key"
DURATION_MEANS = "A duration is a length of training: '500 steps', '10 epochs', '50_000 examples'."
RUNS_MEANS = "A running key says where or how a run is carried out; it changes none of its numbers."


@dataclass(frozen=True)
class KeyDescription:
    """One key: what it may be, what it is by default, and what it means."""

    name: str
    type: str
    default: str
    """As a config writes it; '' where the key must be given."""
    required: bool
    trialable: bool
    """Trials may vary it in one compiled program."""
    running: bool
    """It says where or how a run is carried out, and changes none of its numbers."""
    meaning: str

    @property
    def notes(self) -> list[str]:
        """What is said of the key beside its type, in words."""
        default = "required" if self.required else f"default {self.default}"
        return [default, *([VARIES] if self.trialable else []), *([RUNS] if self.running else [])]


@dataclass(frozen=True)
class Description:
    """A component, a section of the config, or one of its keys. A command's result."""

    title: str
    """How it is asked for: `model cnn`, `config.data`."""
    place: str
    """Where it is defined, `module:Name`; '' for what has no one place."""
    summary: str
    details: str
    keys: tuple[KeyDescription, ...]
    heading: str = "Keys"
    """What the keys are and where they stand, for the line above them."""
    use: str = ""
    """How a config chooses it; '' for what is there anyway."""
    more: tuple[str, ...] = ()
    """Further command lines to ask by."""

    def as_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k != "more"}

    def __str__(self) -> str:
        return "\n".join(self._lines(min(100, shutil.get_terminal_size((100, 24)).columns)))

    __repr__ = __str__

    def _lines(self, width: int) -> Iterator[str]:
        yield from wrap(self.title + (f" ({self.place})" if self.place else ""), width)
        for text in filter(None, (end_sentence(self.summary), self.details)):
            yield ""
            yield from wrap(text, width)
        if self.keys:
            yield ""
            yield f"{self.heading}:"
        for key in self.keys:
            yield from wrap(f"{key.name}: {key.type}; {'; '.join(key.notes)}", width, 2, 6)
            yield from wrap(key.meaning, width, 6)
        for note in explain_terms(self.keys):
            yield ""
            yield from wrap(note, width)
        if self.use:
            yield ""
            yield from wrap(f"Choose it: {self.use}", width)
        if self.more:
            yield ""
            yield "More:"
            yield from (f"  {format_command(line)}" for line in self.more)


def explain_terms(keys: Sequence[KeyDescription]) -> list[str]:
    """Explains the terms that descriptions of these keys use, a sentence each."""
    terms = {
        VARIES_MEANS: any(key.trialable for key in keys),
        RUNS_MEANS: any(key.running for key in keys),
        DURATION_MEANS: any("duration" in key.type for key in keys),
    }
    return [sentence for sentence, used in terms.items() if used]


def describe_keys(
    keys: Mapping[str, Key], meanings: Mapping[str, str], *, traced: bool, running: bool = False
) -> tuple[KeyDescription, ...]:
    """Describes declared keys.

    Main arguments:
      traced: whether numbers of this section enter the step, so that trials may vary a `Hyper`.
      running: whether the whole section changes no numbers.
    """
    return tuple(
        KeyDescription(
            name,
            format_type(key),
            "" if key.default is REQUIRED else format_default(key.default),
            key.default is REQUIRED,
            traced and HYPER in key.marks,
            running or RUNNING in key.marks,
            meanings.get(name, ""),
        )
        for name, key in keys.items()
    )


def wrap(text: str, width: int, indent: int = 0, further: int | None = None) -> list[str]:
    """Breaks paragraphs into lines of at most `width`. An indented line stays a line of its own.

    `further`: the indentation of all lines but the first; by default `indent`.
    """
    further = indent if further is None else further
    lines: list[str] = []
    for paragraph in text.split("\n\n") if text else ():
        lines += [""] if lines else []
        for depth, part in _split_at_indents(paragraph):
            lines += textwrap.wrap(
                part, width, break_long_words=False, break_on_hyphens=False,
                initial_indent=" " * (indent + depth),
                subsequent_indent=" " * (further + (depth + 2 if depth else 0)),
            )  # fmt: skip
    return lines


def _split_at_indents(paragraph: str) -> list[tuple[int, str]]:
    """Splits a paragraph at lines that are indented otherwise, each part with its indentation."""
    parts: list[tuple[int, str]] = []
    for line in paragraph.split("\n"):
        depth, words = len(line) - len(line.lstrip()), line.strip()
        if parts and (depth == parts[-1][0] or not parts[-1][1].endswith(":")):
            parts[-1] = (parts[-1][0], f"{parts[-1][1]} {words}")
        else:
            parts.append((depth, words))
    return parts


def end_sentence(text: str) -> str:
    """Returns a sentence with its full stop."""
    return text if not text or text[-1] in ".?!:" else f"{text}."
