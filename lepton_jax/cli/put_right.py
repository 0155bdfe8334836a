"""Puts a command line right: what was meant stands in the place of what was given.

Imports: the standard library only.
"""

from collections.abc import Iterator, Sequence


def put_right(line: Sequence[str], given: str, *meant: str) -> list[str]:
    """Returns a command line with `meant` in the place of `given`; `[]` where that is not in it.

    `given` is a word, the value of a flag, or a flag with or without its value: `--mode=up`,
    `--mode`; or the form of a recipe, `:tiny`. A key of a config, `--config.optimizer.lr`, is also
    found behind `--vary` and `--tune`.
    """
    for i in range(len(line)):
        for word, taken in _read_words(line, i):
            if put := _replace(word, given, meant) or _replace_varied(word, given, meant):
                return [*line[:i], *put, *line[i + taken :]]
    return []


def _read_words(line: Sequence[str], i: int) -> Iterator[tuple[str, int]]:
    """Yields what stands at a place, `--mode up` as `--mode=up`, and how many words that is."""
    word, following = line[i], line[i + 1 : i + 2]
    if word.startswith("--") and "=" not in word and following and following[0][:2] != "--":
        yield f"{word}={following[0]}", 2
    yield word, 1


def _replace(word: str, given: str, meant: Sequence[str]) -> list[str]:
    first, *more = meant
    if word == given or ("=" in first and word.startswith(f"{given}=") and given[:2] == "--"):
        return [first, *more]
    if word.startswith(tuple(given + sign for sign in "=.@/")):  # --model=NAME@ALIAS, DIR/FILE
        return [first + word[len(given) :], *more]
    if word.endswith(f"={given}") or (given[:1] == ":" and word.endswith(given)):
        return [word[: -len(given)] + first, *more]
    return []


def _replace_varied(word: str, given: str, meant: Sequence[str]) -> list[str]:
    """Returns the values of a key that `--vary` or `--tune` names, `KEY=V,V`, with another key or
    value.
    """
    flag = next((f for f in ("--vary=", "--tune=") if word.startswith(f)), "")
    varied, sign, values = word.removeprefix(flag).partition("=")
    key, has_value, value = given.removeprefix("--config.").partition("=")
    new_key, _, new_value = meant[0].removeprefix("--config.").partition("=")
    options = values.split(",")
    if not sign or varied != key or not given.startswith("--config.") or len(meant) > 1:
        return []
    if has_value and value in options:
        options[options.index(value)] = new_value
    elif has_value or new_value:
        return []
    return [f"{flag}{new_key}={','.join(options)}"]
