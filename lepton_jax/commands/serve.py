"""The command `serve`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import BYTES, SECONDS, PathText, PositiveInt
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError, WorkError, choice_error


@dataclass(frozen=True)
class EndedServer:
    """What a server did, once it has ended."""

    address: str
    models: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"address": self.address, "models": list(self.models)}

    def __str__(self) -> str:
        return f"{', '.join(self.models)}: no longer served at {self.address}"


@command
def serve(
    *,
    model: Sequence[str] = (),
    bundle: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: Annotated[int, ">= 0"] = 8000,
    program: str = "",
    token_file: PathText = "",
    deadline: Annotated[float, "> 0", SECONDS] = 30.0,
    max_wait: Annotated[float, ">= 0", SECONDS] = 0.0,
    max_queue: PositiveInt = 512,
    max_body: Annotated[int, "> 0", BYTES] = 32 << 20,
    follow: Annotated[float, "> 0", SECONDS] = 5.0,
    canary: Sequence[str] = (),
    canary_share: Annotated[float, "in (0, 1]"] = 0.05,
    canary_errors: Annotated[float, "in [0, 1]"] = 0.01,
    canary_disagreement: Annotated[float, "in [0, 1]"] = 0.1,
    keep_requests: PathText = "",
    keep_share: Annotated[float, "in (0, 1]"] = 0.1,
    keep_days: PositiveInt = 30,
    keep_bytes: Annotated[int, "> 0", BYTES] = 1 << 30,
) -> EndedServer:
    """Serves models over HTTP by the Open Inference Protocol, until it is told to end.

    --model=NAME@production         from the registry, and where the alias moves the next version
                                    takes its place; given again for several models
    --bundle=DIR                    or a bundle's folder or archive; NAME=DIR names the model
    --host=127.0.0.1 --port=8000    where it listens; --port=0 takes a free one
    --program=NAME                  stablehlo or onnx; by default the faster one
    --token_file=FILE               holds a token that each request must bear; LEPTON_SERVE_TOKEN
                                    in the environment is one too
    --deadline=30                   seconds after which an answer is of no use
    --max_wait=0                    seconds that a batch waits for more requests
    --max_queue=512                 rows that may wait; what comes then is told to come again
    --max_body=33554432             bytes of a request
    --follow=5                      seconds between two questions to the registry
    --canary=NAME@staging           gives another version of a model a share of its requests
    --canary_share=0.05             the share, by the header X-Lepton-Key or by request
    --canary_errors=0.01            ends the canary where more of its answers fail,
    --canary_disagreement=0.1       or more of them differ from the main version's
    --keep_requests=DIR             keeps requests with their answers, and labels that are told
    --keep_share=0.1                a sample of this share of them,
    --keep_days=30                  for so many days,
    --keep_bytes=1073741824         and the newest ones that together have so many bytes

    Examples:
      python launch.py serve --model=digits@production
      python launch.py serve --bundle=bundles/digits --bundle=bundles/trec --port=9000
      python launch.py serve --model=digits@production --canary=digits@staging --canary_share=0.1
    """
    if not model and not bundle:
        raise UserError(
            "serve what? give --model=NAME@production or --bundle=DIR",
            try_line=["serve", "--help"],
        )
    from lepton_jax.cli.looks import look_for_bundle
    from lepton_jax.registry.bundles import bundle_source, live_source
    from lepton_jax.serving.batches.batcher import BatchRules
    from lepton_jax.serving.drift.watch import DriftWatch
    from lepton_jax.serving.http.health import PLATFORMS
    from lepton_jax.serving.http.process import describe_not_listening, listen_on, run_server
    from lepton_jax.serving.http.server import Server
    from lepton_jax.serving.http.settings import HttpSettings, read_token
    from lepton_jax.serving.live.canary import CanaryRules
    from lepton_jax.serving.live.models import Models
    from lepton_jax.serving.live.sources import split_bundle
    from lepton_jax.serving.loader import BundleError, read_verdict
    from lepton_jax.serving.observed.keeping import KeepingRules, open_keeper
    from lepton_jax.serving.observed.metrics import ServerMetrics

    if program and program.rpartition("/")[2] not in PLATFORMS:
        raise choice_error("serve: no program", program, PLATFORMS, "--program")
    for folder in bundle:
        path = split_bundle(folder)[1]
        look_for_bundle(path)
        if os.path.isdir(path) and not read_verdict(path):
            say(f"note: {path} is not verified: {format_command('verify', bundle=path)}")
    try:
        token = read_token(token_file)
    except ValueError as e:
        raise UserError(f"serve: --token_file: {e}") from None
    try:
        listening = listen_on(host, port)
    except (OSError, OverflowError) as e:
        raise UserError(f"serve: {describe_not_listening(host, port, e)}") from None
    rules = CanaryRules(canary_share, canary_errors, canary_disagreement)
    canaries = {source.name: (source, rules) for source in map(live_source, canary)}
    metrics = ServerMetrics()
    keeping = KeepingRules(keep_share, keep_days, keep_bytes)
    try:
        keeper = open_keeper(keep_requests, keeping, metrics.registry)
    except FileExistsError:
        raise UserError(f"serve: --keep_requests={keep_requests}: expected a folder") from None
    except OSError as e:
        raise UserError(f"serve: --keep_requests={keep_requests}: {e.strerror}") from None
    try:
        sources = [live_source(m, program) for m in model]
        sources += [bundle_source(b, program) for b in bundle]
        models = Models(sources, BatchRules(max_queue, max_wait), canaries, metrics)
        if alone := canaries.keys() - set(models.names):
            raise UserError(f"serve: --canary={min(alone)}: there is no --model={min(alone)}")
        settings = HttpSettings(token, max_body, deadline=deadline)
        server = Server(models, metrics, settings, [DriftWatch(metrics.registry)], keeper)
    except BundleError as e:
        raise WorkError(str(e)) from None
    except ValueError as e:
        raise UserError(f"serve: {e}") from None
    address = ""

    def ready(where: str) -> None:
        nonlocal address
        address = where
        say(f"{', '.join(models.names)} at {where}, also for a browser; Ctrl-C ends it")

    try:
        run_server(server, listening, ready, follow)
    except BundleError as e:
        raise WorkError(str(e)) from None
    return EndedServer(address, tuple(models.names))
