"""The server as a command of its own: `lepton-serve --bundle=DIR`, or `python -m lepton_serving`.

It serves bundles in folders. `lepton serve` serves the registry's models too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .batches.batcher import BatchRules
from .drift.watch import DriftWatch
from .errors import BundleError
from .http.process import describe_not_listening, listen_on, run_server
from .http.server import Server
from .http.settings import HttpSettings, read_token
from .live.models import Models
from .live.sources import folder_source, split_bundle
from .observed.keeping import KeepingRules, open_keeper
from .observed.metrics import ServerMetrics


def main(words: Sequence[str] | None = None) -> None:
    """Serves until SIGTERM. Exits with 2 for a wrong flag, with 1 for a bundle that is none."""
    parser = argparse.ArgumentParser("lepton-serve", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--bundle", action="append", required=True, metavar="[NAME=]DIR",
        help="a bundle's folder; given again for several",
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="where it listens: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="8000; 0 takes a free one")
    parser.add_argument("--program", default="", help="onnx or stablehlo")
    parser.add_argument("--token_file", default="", help="holds a token that requests must bear")
    parser.add_argument("--keep_requests", default="", help="a folder in which requests are kept")
    parser.add_argument(
        "--keep_share", type=_share, default=0.1, help="a sample of this share: 0.1"
    )
    parser.add_argument("--keep_days", type=_days, default=30, help="for so many days: 30")
    given = parser.parse_args(words)
    try:
        token = read_token(given.token_file)
    except ValueError as e:
        parser.error(f"argument --token_file: {e}")
    try:
        listening = listen_on(given.host, given.port)
    except (OSError, OverflowError) as e:
        parser.error(describe_not_listening(given.host, given.port, e))
    try:
        sources = []
        for bundle in given.bundle:
            name, folder = split_bundle(bundle)
            sources.append(folder_source(Path(folder), name, given.program))
        metrics = ServerMetrics()
        settings = HttpSettings(token)
        models = Models(sources, BatchRules(), notes=metrics)
        rules = KeepingRules(given.keep_share, given.keep_days)
        keeper = open_keeper(given.keep_requests, rules, metrics.registry)
        server = Server(models, metrics, settings, [DriftWatch(metrics.registry)], keeper)
        run_server(server, listening)
    except BundleError as e:
        sys.exit(f"error: {e}")
    except (OSError, OverflowError, ValueError) as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)


def _share(text: str) -> float:
    """Reads a share above 0 and at most 1."""
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 1], got {text}")
    return float(text)


def _days(text: str) -> int:
    """Reads a number of days."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return int(text)


if __name__ == "__main__":
    main()
