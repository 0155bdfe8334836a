"""The description of a server's routes in OpenAPI 3.1, made of its routes and its models."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..completions.asked import MOST_TEXTS, MOST_TOKENS
from ..live.models import Models
from .protocol import DATATYPES, describe_tensors
from .server import server_of

Schema = dict[str, Any]


async def tell_openapi(request: Request) -> Response:
    """Describes the routes of this server."""
    server = server_of(request)
    secured = bool(server.settings.token)
    return JSONResponse(describe_api(request.scope["router"].routes, server.models, secured))


def describe_api(routes: Iterable[BaseRoute], models: Models, secured: bool) -> Schema:
    """Returns the description of routes.

    Args:
      secured: whether requests must bear a token.
    """
    paths: dict[str, Schema] = {}
    for route in routes:
        if isinstance(route, Route) and route.include_in_schema:
            for method in sorted(set(route.methods or ()) - {"HEAD"}):
                said = _describe_operation(route, method, models)
                path = re.sub(r":\w+}", "}", route.path)
                paths.setdefault(path, {})[method.lower()] = said
    scheme = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "lepton_jax serving", "version": "2"},
        "paths": paths,
        "components": {"schemas": SCHEMAS, **({"securitySchemes": scheme} if secured else {})},
        **({"security": [{"bearer": []}]} if secured else {}),
    }


def _describe_operation(route: Route, method: str, models: Models) -> Schema:
    name = route.endpoint.__name__
    summary = (route.endpoint.__doc__ or name).strip().partition("\n")[0]
    said: Schema = {"operationId": f"{name}_{method.lower()}_{_slug(route.path)}"}
    said |= {"summary": summary, "parameters": _parameters(route, models)}
    if name in BODIES:
        said["requestBody"] = {"required": True, "content": _content(BODIES[name])}
        if name == "infer":
            _show_example(said, models)
    answer = ANSWERS.get(name, {"application/json": {}})
    error = {"description": "What is wrong", "content": _content({"application/json": "Error"})}
    said["responses"] = {
        "200": {"description": "The answer", "content": _content(answer)},
        **{str(status): error for status in (400, 401, 404, 408, 413, 500, 503, 504)},
    }
    if name in ("tell_ready", "tell_model_ready"):
        said["responses"]["503"] = {**said["responses"]["200"], "description": "Not ready"}
    return said


def _parameters(route: Route, models: Models) -> list[Schema]:
    """Describes what a path takes: names of models are those that there are."""
    texts: dict[str, Schema] = {
        "model": {"type": "string", "enum": models.names},
        "version": {"type": "string"},
    }
    return [
        {"name": p, "in": "path", "required": True, "schema": texts.get(p, {"type": "string"})}
        for p in route.param_convertors
    ]


def _show_example(said: Schema, models: Models) -> None:
    """Adds a request that the first model answers."""
    for name in models.names:
        for served in models.versions(name):
            inputs = describe_tensors(served.bundle.signature["inputs"])
            example = [{**x, "shape": [1, *x["shape"][1:]], "data": ["..."]} for x in inputs]
            content = said["requestBody"]["content"]["application/json"]
            content["examples"] = {name: {"value": {"inputs": example}}}
            return


def _content(of: Mapping[str, Any]) -> Schema:
    """Returns media types with their schemas; a text names one of `SCHEMAS`."""
    return {
        media: {
            "schema": {"$ref": f"#/components/schemas/{schema}"}
            if isinstance(schema, str)
            else schema
        }
        for media, schema in of.items()
    }


def _slug(path: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in path).split())


BYTES: Schema = {"type": "string", "format": "binary"}

BODIES: dict[str, Mapping[str, Any]] = {
    "infer": {"application/json": "InferRequest"},
    "answer_plainly": {
        "application/json": "PlainRequest",
        "text/plain": {"type": "string"},
        "image/png": BYTES,
        "image/jpeg": BYTES,
    },
    "complete": {"application/json": "CompletionRequest"},
    "tell_truth": {"application/json": "TruthTold"},
}
"""What a handler takes, by its name."""

ANSWERS: dict[str, Mapping[str, Any]] = {
    "infer": {"application/json": "InferResponse", "application/octet-stream": BYTES},
    "answer_plainly": {"application/json": "PlainResponse"},
    "complete": {"application/json": {}, "text/event-stream": {"type": "string"}},
    "tell_metrics": {"text/plain": {"type": "string"}},
}
"""What a handler answers, where that is more than some JSON."""


def _object(required: Iterable[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


_TEXT: Schema = {"type": "string"}
_SHAPE: Schema = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_DATA: Schema = {"type": "array", "items": {}}
_TYPES: Schema = {"type": "string", "enum": list(DATATYPES.values())}
_PARAMETERS: Schema = {"type": "object"}
_CLASS: Schema = {"anyOf": [_TEXT, {"type": "integer"}, {"type": "null"}]}

SCHEMAS: dict[str, Schema] = {
    "Error": _object(["error"], error={}),
    "InferRequest": _object(
        ["inputs"],
        id={"type": "string", "maxLength": 256},
        parameters=_PARAMETERS,
        inputs={
            "type": "array",
            "items": _object(
                ["name", "shape", "datatype", "data"],
                name=_TEXT, shape=_SHAPE, datatype=_TYPES, parameters=_PARAMETERS, data=_DATA,
            ),
        },
        outputs={
            "type": "array",
            "items": _object(["name"], name=_TEXT, parameters=_PARAMETERS),
        },
    ),
    "InferResponse": _object(
        ["model_name", "model_version", "id", "outputs"],
        model_name=_TEXT, model_version=_TEXT, id=_TEXT, parameters=_PARAMETERS,
        outputs={
            "type": "array",
            "items": _object(
                ["name", "shape", "datatype"],
                name=_TEXT, shape=_SHAPE, datatype=_TYPES, parameters=_PARAMETERS, data=_DATA,
            ),
        },
    ),
    "CompletionRequest": _object(
        ["model", "prompt"],
        model=_TEXT,
        prompt={"anyOf": [_TEXT, {"type": "array", "items": {}}]},
        max_tokens={"type": "integer", "minimum": 1, "maximum": MOST_TOKENS},
        temperature={"type": "number", "minimum": 0, "maximum": 2},
        top_p={"type": "number", "minimum": 0, "maximum": 1},
        n={"type": "integer", "minimum": 1, "maximum": MOST_TEXTS},
        seed={"type": "integer"},
        stop={"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "maxItems": 4}]},
        logprobs={"type": "integer", "minimum": 0, "maximum": 5},
        echo={"type": "boolean"},
        stream={"type": "boolean"},
    ),
    "PlainRequest": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "text": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
            "image": {"type": "string", "contentEncoding": "base64"},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
        },
    },
    "PlainResponse": _object(
        ["model", "version", "bundle", "request_id", "exact", "answer"],
        model=_TEXT, version=_TEXT, bundle=_TEXT, request_id=_TEXT, exact={"type": "boolean"},
        answer=_object(["kind"], kind=_TEXT),
    ),
    "TruthTold": {
        "type": "object",
        "required": ["id"],
        "minProperties": 2,
        "maxProperties": 2,
        "properties": {
            "id": _TEXT, "label": _CLASS, "labels": {"type": "array", "items": _CLASS},
        },
    },
}  # fmt: skip
"""The schemas that routes name."""

ROUTES = [Route("/openapi.json", tell_openapi)]
