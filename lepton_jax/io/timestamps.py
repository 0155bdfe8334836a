"""Times of day as text: ISO 8601, in UTC, to the second."""

from datetime import UTC, datetime
from typing import Literal


def utc_timestamp(seconds: float | None = None, *, zone: Literal["Z", "+00:00"] = "+00:00") -> str:
    """Formats a time, by default now, as `2026-01-31T12:00:00+00:00`.

    Args:
      seconds: the time in seconds since 1970 (UTC).
      zone: how UTC is written. A record's files have 'Z', bundles and registries '+00:00'.
    """
    time = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
    return time.isoformat(timespec="seconds").replace("+00:00", zone)


def read_timestamp(text: str) -> float:
    """Reads what `utc_timestamp` wrote: seconds since 1970 (UTC)."""
    return datetime.fromisoformat(text).timestamp()
