"""Says where a bundle comes from, and neither on which machine nor by whom it was made.

A bundle leaves the lab, so absolute paths, URLs, user names, and whatever the environment holds as
a secret are taken out of what it carries.
"""

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from lepton_jax.errors import WorkError
from lepton_jax.export.exportable import Exportable
from lepton_jax.io.user import login_name

PACKAGES = ("flax", "jax", "jaxlib", "lepton_jax", "ml_collections", "numpy", "optax")
"""Distributions whose versions a bundle states; what else is installed is nobody's business."""

KEPT = (
    *("python", "platform", "devices", "processor", "visible_cpus", "variables"),
    *("package", "components", "seed"),
)
"""What is taken as it is from provenance.json: all that the numbers of a run depend on."""

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASS|PASSWD|PASSWORD|CREDENTIALS?)(?:$|_)", re.I
)
_SECRET_FLAG = re.compile(
    r"(--?[\w.\-]*(?:key|token(?!iz)|secret|passw|credential)[\w.\-]*)([= ])(\S+)", re.I
)
_URL = re.compile(r"\b[a-z][a-z0-9+.\-]*://[^\s'\",;]+", re.I)
# A value that begins as a path is one to its end, spaces and all.
_WHOLLY = re.compile(r"^(--?[\w.\-]+=)?(?:~[\w.\-]*|[A-Za-z]:)?[/\\].*$", re.S)
_ABSOLUTE = re.compile(r"(?<![\w.<>/\-])(?:~[\w.\-]*|[A-Za-z]:)?[/\\][^\s'\",:;=]+")
# A secret shorter than this would also be found inside innocent words.
_SHORTEST_SECRET = 8


def build_lineage(model: Exportable, date: str) -> dict[str, Any]:
    """Builds lineage.json: what a reader of the bundle may know of the run behind it.

    Only what is listed here is taken from the provenance: commit, package versions, platform,
    devices, the command line, digests of the code; the uncommitted diff as a hash.
    """
    provenance = model.provenance
    origin = model.training.get("re_exported_from")
    kept = {k: provenance[k] for k in KEPT if k in provenance}
    installed = provenance.get("packages") or {}
    return {
        "command": shlex.join(map(scrub_word, shlex.split(provenance.get("command") or ""))),
        **scrub_values(
            {
                **kept,
                "chain": model.chain,
                "code": _code(provenance.get("code")),
                "config": model.config,
                "config_fingerprint": model.fingerprint,
                "data_fingerprint": model.data_fingerprint,
                "exported": date,
                "harness_code": _code(provenance.get("harness_code")),
                "packages": {n: v for n, v in installed.items() if n in PACKAGES},
                "step": model.step,
                **({"re_exported_from": origin} if origin else {}),
            }
        ),
    }


def _code(state: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns a repository's commit, and its uncommitted changes as a digest alone."""
    if not state:
        return None
    return {"commit": state.get("commit"), "diff_sha256": state.get("diff_sha256")}


def scrub_values(value: Any) -> Any:
    """Scrubs every string in nested mappings and lists; keys stay as they are."""
    if isinstance(value, Mapping):
        return {k: scrub_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [scrub_values(v) for v in value]
    return scrub_text(value) if isinstance(value, str) else value


def scrub_text(text: str) -> str:
    """Takes secrets of the environment, URLs, absolute paths and the user's name out of a text."""
    for secret in environment_secrets():
        text = text.replace(secret, "<secret>")
    text = _URL.sub("<url>", text)
    text = _WHOLLY.sub(r"\1<path>", text)
    text = _ABSOLUTE.sub("<path>", text)
    if "/" in text and (user := login_name()):
        parts = ["<user>" if part == user else part for part in text.split("/")]
        text = "/".join(parts)
    return text


def scrub_word(word: str) -> str:
    """Scrubs a word of a command line, of which a flag stays and a value that sounds secret goes.

    The user's name goes wherever it stands as a word. Not so in a config, where a user called
    `adam` would lose an optimizer.
    """
    word = scrub_text(_SECRET_FLAG.sub(r"\1\2<secret>", word))
    if user := login_name():
        word = re.sub(rf"(?<![\w\-]){re.escape(user)}(?![\w\-])", "<user>", word)
    return word


def environment_secrets() -> list[str]:
    """Lists the values of environment variables that sound secret, longest first."""
    secrets = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
    }
    return sorted(secrets, key=len, reverse=True)


def check_clean(files: Mapping[str, bytes], workdir: str) -> None:
    """Checks that no file that is about to leave holds a home or work directory, or a secret.

    Raises:
      WorkError: names the file and what is in it, never the secret itself.
    """
    places = {
        "the home directory": os.path.expanduser("~"),
        "the current directory": os.getcwd(),
        "the workdir": os.path.abspath(workdir),
    }
    # '/', '/tmp' and '/root' may stand in innocent text; a real place of work is longer.
    private = {what: p for what, p in places.items() if len(p) > len("/root")}
    private |= {
        f"a secret of the environment ({len(s)} characters)": s for s in environment_secrets()
    }
    for name, content in files.items():
        for what, text in private.items():
            if text.encode() in content:
                raise WorkError(
                    f"export stopped: {name} would carry {what}. Look for it in the config, the "
                    "class names and the results of the run; nothing has been written."
                )
