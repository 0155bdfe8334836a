"""The routes of the pages on which a person tries a model."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .refusals import HttpRefusal

FOLDER = Path(__file__).parent.parent / "pages"

ASSETS = {
    "try.css": "text/css",
    **dict.fromkeys(
        ("answers.js", "dom.js", "drawing.js", "texts.js", "try.js"), "text/javascript"
    ),
}
"""The files that a page asks for, and their types; there are no others."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""A page asks this server alone, runs its own scripts alone, and is no part of another page."""


async def show_page(request: Request) -> Response:
    """Sends the page of a model, or of all. It says nothing of a model: its script asks."""
    return Response((FOLDER / "try.html").read_bytes(), headers=HEADERS, media_type="text/html")


async def send_asset(request: Request) -> Response:
    """Sends a file of the page."""
    name = request.path_params["file"]
    if name not in ASSETS:
        raise HttpRefusal(404, "there is no such route")
    return Response((FOLDER / name).read_bytes(), headers=HEADERS, media_type=ASSETS[name])


ROUTES = [
    Route("/", show_page, include_in_schema=False),
    Route("/try/{model}", show_page, include_in_schema=False),
    Route("/assets/{file}", send_asset, include_in_schema=False),
]
