"""The routes by which clients tell what was true, and delete what was kept of them."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import InputError
from ..files import parse_json
from ..observed.feedback import RememberedAnswer, read_labels_told
from .body import read_body
from .refusals import HttpRefusal
from .server import Server, server_of


async def tell_truth(request: Request) -> Response:
    """Takes the true labels of a request that was answered, by its id; again to correct them."""
    server, said = server_of(request), _read(await read_body(request))
    request_id = said["id"]
    answer = server.feedback.find(request_id)
    if answer is None:
        answer = await _find_kept(server, request_id)
    labels = read_labels_told(said, answer)
    status = "new" if not answer.labels else "same" if labels == answer.labels else "changed"
    kept = False
    if server.keeper is not None:
        kept = await run_in_threadpool(server.keeper.label, request_id, labels)
    # What is counted is what was told until now: others may have told meanwhile.
    told = server.feedback.tell(request_id, server.feedback.find(request_id) or answer, labels)
    return JSONResponse(
        {
            "id": request_id,
            "model": answer.model,
            "version": answer.version,
            "right": told.right(),
            "status": status,
            "kept": kept,
        }
    )


async def show_feedback(request: Request) -> Response:
    """Says how often each version was right, by the labels that were told since the start."""
    feedback = server_of(request).feedback
    accuracies = [accuracy.as_json() for accuracy in feedback.accuracies()]
    return JSONResponse({"since": feedback.since, "models": accuracies})


async def delete_request(request: Request) -> Response:
    """Deletes what is kept of a request, and forgets its answer."""
    server, request_id = server_of(request), request.path_params["id"]
    known = server.feedback.forget(request_id)
    deleted = False
    if server.keeper is not None:
        deleted = await run_in_threadpool(server.keeper.delete, request_id)
    if not known and not deleted:
        raise HttpRefusal(404, f"nothing is kept of request {request_id!r:.130}")
    return JSONResponse({"id": request_id, "deleted": True})


_SUCH_AS = '{"id": "8f2c", "label": "7"}'


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = parse_json(body)
    except (ValueError, RecursionError) as e:
        raise InputError(f"the feedback is not JSON, such as {_SUCH_AS}: {e!s:.200}") from None
    forms = ({"id", "label"}, {"id", "labels"})
    if not isinstance(said, dict) or said.keys() not in forms or not isinstance(said["id"], str):
        raise InputError(
            f"expected an object with 'id' and either 'label' or 'labels', such as {_SUCH_AS}"
        )
    return said


async def _find_kept(server: Server, request_id: str) -> RememberedAnswer:
    """Finds the answer to a request of long ago. Raises `HttpRefusal` where it is not kept."""
    keeper = server.keeper
    if keeper is None:
        raise _unknown(request_id)
    try:
        kept = await run_in_threadpool(keeper.find, request_id)
        if kept is None:
            raise _unknown(request_id)
        classes = await run_in_threadpool(keeper.classes, kept.bundle)
        return server.feedback.recall(kept, classes)
    except ValueError as e:
        if isinstance(e, InputError):
            raise
        raise HttpRefusal(500, f"what is kept of {request_id!r:.130} is damaged") from None


def _unknown(request_id: str) -> HttpRefusal:
    said = f"request {request_id!r:.130} is not known: no class was answered to it, or long ago"
    return HttpRefusal(404, said)


ROUTES = [
    Route("/feedback", tell_truth, methods=["POST"]),
    Route("/feedback", show_feedback, methods=["GET"]),
    Route("/requests/{id:path}", delete_request, methods=["DELETE"]),
]
