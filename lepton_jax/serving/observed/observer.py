"""What looks at the answers of a server: drift, feedback, a store of requests."""

from typing import TYPE_CHECKING, Protocol

from ..batches.sizes import Arrays

if TYPE_CHECKING:
    from ..live.served import ServedModel


class AnswerObserver(Protocol):
    """Something that is shown every answer, on the server's event loop: it must be quick."""

    def observe(
        self, served: "ServedModel", request_id: str, inputs: Arrays, outputs: Arrays
    ) -> None:
        """Looks at the inputs and outputs [B, ...] of one request; an error of its own is logged,
        and the answer is sent all the same.
        """
        ...
