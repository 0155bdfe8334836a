"""The command `generate`."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import NaturalInt, PathText, PositiveInt, Seed
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.generation.text import Sampling, TokenReader


@dataclass
class Generated:
    """A prompt and what a model makes of it; `stream` or `text` makes it."""

    reader: "TokenReader"
    prompt: str
    sampling: "Sampling"
    tokens: list[int] = field(default_factory=list)
    """Of the prompt and of all that has been made so far."""
    made: int = 0
    """How many tokens have been made, once all have."""

    @property
    def text(self) -> str:
        return "".join(self.stream())

    def stream(self) -> Iterator[str]:
        """Yields the prompt, then pieces of text as they are made."""
        from lepton_jax.generation.text import stream_text

        yield from stream_text(self.reader, self.prompt, self.sampling, self.tokens)
        self.made = len(self.tokens) - len(self.reader.prompt(self.prompt))

    def as_json(self) -> dict[str, Any]:
        text = self.text  # fills `tokens`
        sampling = asdict(self.sampling)
        del sampling["tokens"]  # their greatest number
        said = {"text": text, "source": self.reader.source, "prompt": self.prompt}
        return {**said, **sampling, "tokens": self.tokens}

    def __str__(self) -> str:
        return f"\n{self.made} tokens by {self.reader.source}"


@command
def generate(
    *,
    workdir: PathText = "",
    bundle: PathText = "",
    model: str = "",
    prompt: str = "\n",
    tokens: PositiveInt = 200,
    temperature: Annotated[float, ">= 0"] = 0.8,
    top_k: NaturalInt = 0,
    top_p: Annotated[float, "in (0, 1]"] = 1.0,
    seed: Seed = 0,
    checkpoint: str = "best",
) -> "Generated":
    """Generates text with a language model, and shows it token by token.

    --workdir=DIR                   a run of language modelling, or
    --bundle=DIR                    its bundle, also as FILE.tar, or
    --model=NAME@ALIAS              its version in the registry; or NAME/VERSION
    --prompt=TEXT                   the text to continue; a new line by default
    --tokens=200                    the number of tokens, if the text does not end before
    --temperature=0.8               0: always the most probable token
    --top_k=N --top_p=0.9           only the most probable tokens; all by default
    --seed=0                        another seed gives another text
    --checkpoint=best               of a run: best, last, or a step

    Examples:
      python launch.py generate --workdir=runs/shakespeare --prompt="ROMEO:"
      python launch.py generate --bundle=bundles/shakespeare --prompt="ROMEO:" --temperature=0
    """
    from lepton_jax.cli.looks import look_for_bundle, look_for_run

    if sum(map(bool, (workdir, bundle, model))) != 1:
        raise UserError(
            "generate: no model; give one of --workdir=DIR, --bundle=DIR or --model=NAME@staging",
            try_line=["generate", "--help"],
        )
    if workdir:
        look_for_run(workdir, checkpoint)
    if bundle:
        look_for_bundle(bundle)
    from lepton_jax.generation.readers import BundleReader, RunReader
    from lepton_jax.generation.text import Sampling

    sampling = Sampling(tokens, temperature, top_k, top_p, seed)
    reader: TokenReader = (
        RunReader(workdir, checkpoint, tokens)
        if workdir
        else BundleReader(bundle or None, model or None)
    )
    return Generated(reader, prompt, sampling)
