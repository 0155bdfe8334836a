"""How a server is set up."""

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
