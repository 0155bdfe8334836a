"""JSON of a request, which has one reader: this server."""

from typing import Any

import orjson

from ..errors import InputError
from ..files import MAX_DEPTH, check_depth


def parse_request(text: bytes) -> Any:
    """Parses the JSON of a request: finite numbers alone, nested as deep as in a bundle.

    Raises:
      InputError: when it is something else.
    """
    try:
        said = orjson.loads(text)
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH:  # else it cannot be deeper
            check_depth(said)
    except ValueError as e:
        raise InputError(f"the request is not JSON: {e!s:.200}") from None
    return said
