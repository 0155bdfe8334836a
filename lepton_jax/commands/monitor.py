"""The command `monitor`."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError, WorkError

if TYPE_CHECKING:
    from lepton_jax.monitoring.report import DriftReport


@command
def monitor(
    inputs: Sequence[Any] = (),
    *,
    url: str = "",
    bundle: PathText = "",
    model: str = "",
    requests: PathText = "",
    level: Annotated[float, "in (0, 1]"] = 0.01,
    retrain_request: PathText = "",
    token_file: PathText = "",
) -> "DriftReport":
    """Tells whether a model is asked for something else than what it was made for.

    FILE ...                        images, .npy arrays, texts; a folder stands for its files
    --requests=DIR                  or what `serve --keep_requests=DIR` kept
    --bundle=DIR                    the bundle, whose held-out examples they are compared with
    --model=NAME@ALIAS              or from the registry
    --url=http://HOST:PORT          or asks a server, which watches by itself
    --level=0.01                    the chance of a false alarm, of this look
    --retrain_request=FILE          writes at an alarm what `improve --request=FILE` reads
    --token_file=FILE               the token that a server asks for; LEPTON_SERVE_TOKEN in the
                                    environment is one too

    Exit code 1 is an alarm. It names the most likely cause: brightness, contrast, saturation, blur,
    noise, or other classes, and the augmentation that covers it.

    Examples:
      python launch.py monitor photos --bundle=bundles/digits
      python launch.py monitor --requests=kept --model=digits@production --retrain_request=r.json
      python launch.py monitor --url=http://localhost:8000
    """
    if url and (inputs or bundle):
        raise UserError("monitor: --url asks a server, which has its bundle and its inputs")
    if not url and (bool(bundle) == bool(model) or bool(inputs) == bool(requests)):
        raise UserError(
            "monitor what? give --url=http://HOST:PORT; or files or --requests=DIR, and "
            "--bundle=DIR or --model=NAME@production",
            try_line=["monitor", "--help"],
        )
    if retrain_request and not (model and requests):
        raise UserError(
            "monitor: --retrain_request=FILE names the model and its requests: give --model=NAME "
            "and --requests=DIR too"
        )
    if url:
        report = _ask(url, model, token_file)
    else:
        report = _compare(inputs, bundle, model, requests, level)
    return _with_request(report, model, requests, retrain_request)


def _with_request(report: "DriftReport", model: str, requests: str, path: str) -> "DriftReport":
    """Writes a retrain request to `path` where the report is an alarm; '' writes none."""
    if not path or not report.alarm:
        return report
    from lepton_jax.improvement.request import RetrainRequest

    cause = report.causes[0].as_json() if report.causes else None
    RetrainRequest(re.split("[@/]", model)[0], requests, cause).write(path)
    return replace(report, retrain_request=path)


def _ask(url: str, model: str, token_file: str) -> "DriftReport":
    from lepton_jax.monitoring.server import ask_server
    from lepton_jax.serving.http.settings import read_token

    try:
        token = read_token(token_file)
    except ValueError as e:
        raise UserError(f"monitor: --token_file: {e}") from None
    return ask_server(url, token, re.split("[@/]", model)[0])


def _compare(
    inputs: Sequence[Any], bundle: str, model: str, requests: str, level: float
) -> "DriftReport":
    from lepton_jax.cli.looks import look_for_bundle
    from lepton_jax.monitoring.compare import compare_traffic
    from lepton_jax.monitoring.traffic import read_files, read_kept
    from lepton_jax.registry.bundles import open_bundle
    from lepton_jax.serving.loader import BundleError, InputError

    if bundle:
        look_for_bundle(bundle)
    try:
        loaded, _ = open_bundle(bundle or None, model or None, "")
        if requests:
            traffic = read_kept(loaded, requests)
        else:
            traffic = read_files(loaded, [str(x) for x in inputs])
        return compare_traffic(loaded, traffic, level)
    except InputError as e:
        raise UserError(str(e)) from None
    except BundleError as e:
        raise WorkError(str(e)) from None
