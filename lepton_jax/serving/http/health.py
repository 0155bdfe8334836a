"""Routes that say how the server is, and what it serves."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..live.served import ServedModel
from .protocol import describe_tensors
from .server import server_of

NAME = "lepton-serving"
EXTENSIONS = ["binary_tensor_data"]
PLATFORMS = {"onnx": "onnx_onnxv1", "stablehlo": "jax_stablehlo"}


async def tell_live(request: Request) -> Response:
    """Says that the process runs."""
    return JSONResponse({"live": True})


async def tell_ready(request: Request) -> Response:
    """Says whether every model answers, and the server is not about to end."""
    server = server_of(request)
    ready = server.models.ready and not server.stopping
    return JSONResponse({"ready": ready, "live": True}, 200 if ready else 503)


async def describe_server(request: Request) -> Response:
    """Says what the server is, and which models it has."""
    server = server_of(request)
    said = {"name": NAME, "version": "1", "extensions": EXTENSIONS}
    return JSONResponse(said | {"models": server.models.names})


async def describe_model(request: Request) -> Response:
    """Says what goes into a model and comes out."""
    served = _find(request)
    signature = served.bundle.signature
    versions = [v.version for v in server_of(request).models.versions(served.name)]
    return JSONResponse(
        {
            "name": served.name,
            "versions": versions,
            "platform": PLATFORMS[served.bundle.program.rpartition("/")[2]],
            "inputs": describe_tensors(signature["inputs"]),
            "outputs": describe_tensors(signature.get("outputs") or {}),
            "parameters": {
                "answer": served.bundle.answer,
                "bundle": served.bundle.id,
                "decoding": (signature.get("decoding") or {}).get("steps", []),
                "exact": served.exact,
                "labels": served.bundle.labels,
                "takes": _find_taken(served),
                "takes_text": served.bundle.takes_text,
                "version": served.version,
            },
        }
    )


async def tell_model_ready(request: Request) -> Response:
    """Says whether a model answers."""
    server, name = server_of(request), request.path_params["model"]
    loading = name in server.models.names and not server.models.versions(name)
    ready = not loading and not server.stopping and bool(_find(request))
    return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)


async def tell_metrics(request: Request) -> Response:
    """Gives Prometheus its numbers."""
    content, media_type = server_of(request).metrics.text()
    return Response(content, media_type=media_type)


def _find_taken(served: ServedModel) -> str:
    """Says what a person gives a model: a prompt, an image, a text, two texts, or a seed; or arrays
    of numbers.
    """
    signature = served.bundle.signature
    if served.writer is not None:
        return "prompt"
    if signature.get("decoding"):
        return "image"
    if served.bundle.takes_text:
        return "texts" if signature["text"]["pair"] else "text"
    return "seed" if signature["inputs"].keys() == {"seed"} else "arrays"


def _find(request: Request) -> ServedModel:
    path = request.path_params
    return server_of(request).models.main(path["model"], path.get("version", ""))


_MODEL = "/v2/models/{model}"
_VERSION = "/v2/models/{model}/versions/{version}"

ROUTES = [
    Route("/v2/health/live", tell_live),
    Route("/v2/health/ready", tell_ready),
    Route("/v2", describe_server),
    Route(_MODEL, describe_model),
    Route(f"{_MODEL}/ready", tell_model_ready),
    Route(_VERSION, describe_model),
    Route(f"{_VERSION}/ready", tell_model_ready),
    Route("/metrics", tell_metrics),
]
