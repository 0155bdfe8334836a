"""Runs the whole suite with its longer proofs, a folder at a time, and goes on where it stopped.

`python -m tests.parts [FOLDER ...]`: a part that has passed on these very files is not run again.
What each part took stands in .pytest_cache/parts.json. The exit code is 1 when a part fails.
"""

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
ROOT = TESTS.parent
RECORD = ROOT / ".pytest_cache" / "parts.json"


def list_parts() -> list[str]:
    """Returns the folders that hold tests, and `tests` for the files beside them."""
    folders = {path.parent.relative_to(TESTS).parts[:1] for path in TESTS.rglob("test_*.py")}
    return sorted("/".join(("tests", *folder)) for folder in folders)


def digest_files() -> str:
    """Returns a digest of every file of the repository that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    digest = hashlib.sha256()
    for name in sorted(set(listed.stdout.split("\0")) - {""}):
        path = ROOT / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def run_part(part: str) -> dict[str, Any]:
    """Runs the tests of one part in two processes; returns its outcome and minutes."""
    files = [str(TESTS.joinpath(*part.split("/")[1:]))]
    if part == "tests":
        files = sorted(map(str, TESTS.glob("test_*.py")))
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-n", "2", "--dist", "loadscope"]
    process = subprocess.Popen(
        [*command, *files], cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    summary = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        if re.search(r"\d+ (passed|failed|error)", line):
            summary = line.strip(" =\n")
    passed = process.wait() == 0
    return {"passed": passed, "summary": summary, "minutes": (time.monotonic() - began) / 60}


def main(chosen: list[str]) -> int:
    """Runs the chosen parts, or all; returns the exit code."""
    digest = digest_files()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    done = record["parts"] if record.get("files") == digest else {}
    parts = [part for part in list_parts() if not chosen or part in chosen]
    for number, part in enumerate(parts, 1):
        if done.get(part, {}).get("passed"):
            continue
        print(f"\n{part} ({number} of {len(parts)})", flush=True)
        done[part] = run_part(part)
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps({"files": digest, "parts": done}, indent=2) + "\n")
    print()
    for part in parts:
        print(f"{done[part]['minutes']:6.1f} min  {part:<20} {done[part]['summary']}")
    print(f"{sum(done[part]['minutes'] for part in parts):6.1f} min  in all")
    return 0 if all(done[part]["passed"] for part in parts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
