"""Times of day as text: ISO 8601, in UTC, to the second; the day that a build states."""

import os
import time
from datetime import UTC, date, datetime
from typing import Literal

from lepton_jax.errors import UserError


def utc_timestamp(seconds: float | None = None, *, zone: Literal["Z", "+00:00"] = "+00:00") -> str:
    """Formats a time, by default now, as `2026-01-31T12:00:00+00:00`.

    Args:
      seconds: the time in seconds since 1970 (UTC).
      zone: how UTC is written. A record's files have 'Z', bundles and registries '+00:00'.
    """
    when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="seconds").replace("+00:00", zone)


def read_timestamp(text: str) -> float:
    """Reads what `utc_timestamp` wrote: seconds since 1970 (UTC)."""
    return datetime.fromisoformat(text).timestamp()


def build_date() -> date:
    """Returns today (UTC), or the day of the environment's SOURCE_DATE_EPOCH.

    Raises:
      UserError: when that is no number of seconds since 1970.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or str(time.time())
    try:
        return datetime.fromtimestamp(float(epoch), UTC).date()
    except (ValueError, OverflowError, OSError):
        raise UserError(
            f"SOURCE_DATE_EPOCH={epoch}: expected seconds since 1970, e.g. 1700000000"
        ) from None
