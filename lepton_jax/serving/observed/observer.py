"""What looks at the answers of a server: drift, feedback, a store of requests."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..batches.sizes import Arrays

if TYPE_CHECKING:
    from ..live.served import ServedModel


class AnswerObserver(Protocol):
    """Something that is shown every answer, on the server's event loop: it must be quick."""

    def observe(
        self,
        served: "ServedModel",
        request_id: str,
        inputs: Arrays,
        outputs: Arrays,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Looks at the inputs and outputs [B, ...] of one request; an error of its own is logged,
        and the answer is sent all the same.

        Args:
          parameters: of a request of `/v1/completions`, as `CompletionRequest.parameters` returns
            them. Then the inputs are the prompts, one for each text, and the outputs are what was
            written, both as `lay_out_tokens` lays them out.
        """
        ...
