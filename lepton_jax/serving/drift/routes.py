"""The route `/drift`: JSON for programs, a page for browsers."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ..http.server import server_of
from ..observed.feedback import Feedback
from .accuracy import compare_estimate
from .page.render import render_drift
from .watch import DriftWatch

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


async def tell_drift(request: Request) -> Response:
    """Says for each version whether its inputs have moved, since when and why."""
    watches = [o for o in server_of(request).observers if isinstance(o, DriftWatch)]
    models = await run_in_threadpool(_look, watches, server_of(request).feedback)
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(render_drift(models), headers=_HEADERS)
    return JSONResponse({"alarm": any(m.get("alarm") for m in models), "models": models})


def _look(watches: list[DriftWatch], feedback: Feedback) -> list[dict[str, Any]]:
    for watch in watches:
        watch.settle()
    models = [said for watch in watches for said in watch.as_json()]
    told = {(a.model, a.version): a for a in feedback.accuracies() if a.rows}
    for said in models:
        accuracy = told.get((said["model"], said["version"]))
        if accuracy and said.get("performance"):
            said["performance"]["feedback"] = compare_estimate(
                said["performance"], accuracy.right, accuracy.rows
            )
    return models


ROUTES = [Route("/drift", tell_drift)]
