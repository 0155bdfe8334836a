"""The log of a server: a JSON object a line, on stderr. No input and no answer is logged."""

import datetime
import json
import os
import sys
from contextlib import suppress
from typing import Any

import orjson


def log_event(event: str, **said: Any) -> None:
    """Logs what happened, with its time. A log that nobody can take changes nothing."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    try:
        line = orjson.dumps({"time": now, "event": event, **said}, default=str)
    except TypeError:  # half a character, or a number that it does not know
        line = json.dumps({"time": now, "event": event, **said}, default=str).encode()
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), line + b"\n")
