"""How a server is set up."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class HttpSettings:
    """What holds for every request."""

    token: str = ""
    """The bearer token that a client must send; '' for none."""
    most_body: int = 32 << 20
    """Bytes of a request's body."""
    body_seconds: float = 20.0
    """How long a body may take to arrive."""
    deadline: float = 30.0
    """Seconds from a request's arrival until it is too late to compute it."""
    key_header: str = "x-lepton-key"
    """The header whose value decides which requests a canary gets; without it the request id."""


TOKEN = "LEPTON_SERVE_TOKEN"
"""The environment's name for the token, where no file has it."""


def read_token(file: str) -> str:
    """Reads the token that clients must send; '' where none is asked for.

    Args:
      file: holds it; '' for the environment.

    Raises:
      ValueError: when the file cannot be read, or there is no token of ASCII in it.
    """
    if not file:
        return os.environ.get(TOKEN, "")
    try:
        with open(file, "rb") as f:
            token = f.read(4096).strip()
    except OSError as e:
        raise ValueError(f"{file}: {e.strerror}") from None
    if not token or not token.isascii():
        raise ValueError(f"{file}: expected a token of ASCII characters in it")
    return token.decode()
