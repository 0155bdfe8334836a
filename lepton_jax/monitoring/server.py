"""Asks a running server whether its inputs have moved."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from lepton_jax.errors import UserError, WorkError
from lepton_jax.monitoring.report import DriftReport
from lepton_jax.serving.drift.causes import Cause
from lepton_jax.serving.loader import parse_json

MOST_BYTES = 1 << 24
_SECONDS = 30


def ask_server(url: str, token: str, model: str = "") -> DriftReport:
    """Asks the route /drift of a server.

    Args:
      token: that the server asks for; '' for none.
      model: of which; '' for all.

    Raises:
      UserError: when the address is none, or the server has no such model.
      WorkError: when the server does not answer, or not as one of ours.
    """
    address = urllib.parse.urlsplit(url)
    if address.scheme not in ("http", "https") or not address.netloc:
        meant = f"http://{url}" if re.fullmatch(r"[\w.\-]+(:\d+)?/?", url) else ""
        raise UserError(
            f"--url={url}: expected an address, such as http://localhost:8000",
            instead=("--url", f"--url={meant}") if meant else None,
        )
    asked = urllib.request.Request(f"{url.rstrip('/')}/drift")
    if token:
        asked.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(asked, timeout=_SECONDS) as answer:
            said = parse_json(answer.read(MOST_BYTES))
        models = [m for m in said["models"] if model in ("", m["model"])]
        if model and not models and said["models"]:
            there = ", ".join(sorted({m["model"] for m in said["models"]}))
            raise UserError(f"--model={model}: {url} has answered for: {there}")
        return _report(url, models)
    except urllib.error.HTTPError as e:
        said = e.read(300).decode("utf-8", "replace")
        cure = "; --token_file=FILE gives its token" if e.code == 401 else ""
        raise WorkError(f"{url} answers {e.code}: {said}{cure}") from None
    except (OSError, json.JSONDecodeError) as e:
        reason = getattr(e, "reason", e)  # of urllib, around what the system said
        said = getattr(reason, "strerror", None) or reason
        raise WorkError(f"{url} does not answer: {said}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise WorkError(
            f"{url} is no server of lepton_jax: {type(e).__name__}: {e!s:.80}"
        ) from None


def _report(url: str, models: list[Mapping[str, Any]]) -> DriftReport:
    alarms = [m for m in models if m.get("alarm")]
    lines = [line for m in models for line in _lines(m)] or ["no request has come yet"]
    causes = [
        Cause(c["name"], c["strength"], c["explained"], c["transform"], c["arguments"])
        for m in alarms[:1]
        for c in m["alarm"]["causes"]
    ]
    rates = {m["promise"]["false_alarms_per_month"] for m in models if m["watched"]}
    promise = f"At most {max(rates):g} false alarm a month, whatever the traffic" if rates else ""
    return DriftReport(url, bool(alarms), promise, tuple(lines), tuple(causes), {"models": models})


def _lines(said: Mapping[str, Any]) -> list[str]:
    of = ", prompts" if said.get("of") == "prompts" else ""
    named = f"{said['model']} {said['version']}{of}"
    if not said["watched"]:
        return [f"{named} is not watched: {said['why']}"]
    alarm, performance = said["alarm"], said["performance"]
    if alarm:
        moved = ", ".join(alarm["moved"])
        lines = [f"{named} since {alarm['since']}: {moved} (noticed by {alarm['by']})"]
    else:
        lines = [f"{named}: {said['examples']} examples, evidence {said['bets']['most']:.2g} of 1"]
    if performance:
        low, high = performance["interval"]
        lines.append(
            f"accuracy without labels {performance['accuracy']:.3f} ({low:.3f}-{high:.3f})"
        )
    return lines
