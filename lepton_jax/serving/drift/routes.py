"""The route `/drift`: JSON for programs, a page for browsers."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ..http.server import Server, server_of
from ..observed.feedback import Feedback
from .accuracy import compare_estimate
from .page.examples import draw_examples
from .page.render import render_drift
from .prompts import describe_prompts
from .watch import PROMPTS, DriftWatch

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
}

_FILES = 64
"""Kept requests that are looked at for the newest examples of a version."""


async def tell_drift(request: Request) -> Response:
    """Says for each version whether its inputs have moved, since when and why."""
    watches = [o for o in server_of(request).observers if isinstance(o, DriftWatch)]
    models = await run_in_threadpool(_look, watches, server_of(request).feedback)
    if "text/html" in request.headers.get("accept", ""):
        examples = await run_in_threadpool(_draw_all, server_of(request), models)
        return HTMLResponse(render_drift(models, examples), headers=_HEADERS)
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


def _draw_all(server: Server, models: list[dict[str, Any]]) -> list[str]:
    """Draws the newest examples of each version; '' where none are kept, or it has gone."""
    drawn = []
    for said in models:
        name, version = said["model"], said["version"]
        served = [s for s in server.models.versions(name) if s.version == version]
        if server.keeper is None or not served:
            drawn.append("")
            continue
        bundle, of_texts = served[0].bundle, said["of"] == PROMPTS
        signature = describe_prompts(bundle.signature) if of_texts else bundle.signature
        requests = server.keeper.newest(name, version, _FILES, of_texts=of_texts)
        drawn.append(draw_examples(requests, signature, bundle.labels, bundle.text))
    return drawn


ROUTES = [Route("/drift", tell_drift)]
