"""Until when jax promises to read an exported program, and what is said as that day comes near."""

import datetime
from collections.abc import Mapping
from typing import Any

from lepton_jax.console import format_command, say
from lepton_jax.serving import loader

MONTHS = 6
"""jax reads a program that an earlier jax exported, if that was built at most so long before."""

WARNED_DAYS = 30
"""How long before the end of the promise a command begins to warn."""


def promised_until(exported: datetime.date) -> datetime.date:
    """Returns the last day of the promise of a program that was exported on a day."""
    years, month = divmod(exported.month - 1 + MONTHS, 12)
    first_after = datetime.date(exported.year + years, month + 1, 1)
    following = (first_after + datetime.timedelta(31)).replace(day=1)
    return first_after.replace(day=min(exported.day, (following - first_after).days))


def describe_end(program: Mapping[str, Any], today: datetime.date) -> str:
    """Returns what a command says of a program whose promise ends soon, or has ended; else "".

    Args:
      program: what the signature says of it; an old one has no `promised_until`.
    """
    try:
        exported = datetime.date.fromisoformat(program["exported"])
        said = program.get("promised_until")
        end = datetime.date.fromisoformat(said) if said else promised_until(exported)
    except (KeyError, TypeError, ValueError):
        return ""
    left = (end - today).days
    if left > WARNED_DAYS:
        return ""
    if left >= 0:
        days = "1 more day" if left == 1 else f"{left} more days"
        return (
            f"jax promises to read this bundle's StableHLO program until {end}, for {days}: a "
            "newer jax may refuse it after that"
        )
    return (
        f"jax promised to read this bundle's StableHLO program until {end}. The jax that exported "
        f"it, {program.get('jax')!s:.40}, still reads it; a newer one may refuse it or give other "
        "answers"
    )


def tell_end(bundle: loader.Bundle) -> None:
    """Says that the promise of a bundle's StableHLO program ends soon or has ended, if so."""
    program = bundle.signature["programs"]["stablehlo"]
    if said := describe_end(program, datetime.datetime.now(datetime.UTC).date()):
        folder = str(bundle.folder)
        again = format_command("re-export", bundle=folder, out=f"{folder}-new")
        say(f"note: {said}. Make a new bundle: {again}")
