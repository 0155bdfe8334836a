"""The tutorial from nothing, by a Python that has nothing: `python -m tests.tutorial PYTHON...`.

Gives every line of docs/tutorial.md to a shell, with an empty home and a fresh copy of the
repository, and prints the lines with their seconds and exit codes. What it prints lands in
docs/results/tutorial.json too.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
RESULTS = ROOT / "docs" / "results" / "tutorial.json"
END = "the line has ended with"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tutorial", description=__doc__)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON", help="such as python3.13")
    held = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    failed = False
    for python in parser.parse_args().pythons:
        version = ask(python, "import platform; print(platform.python_version())")
        rows = run_lines(python)
        held[version] = {"commit": ask_git("rev-parse", "--short", "HEAD"), "lines": rows}
        RESULTS.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")
        minutes = sum(row["seconds"] for row in rows) / 60
        refused = [row["line"] for row in rows if row["code"] != 0]
        print(f"Python {version}: {len(rows)} lines in {minutes:.1f} minutes, refused: {refused}")
        failed |= len(refused) != 1 or " promote " not in refused[0]  # the worse model
    sys.exit(failed)


def lines_of_page(text: str) -> list[str]:
    """Returns what the page's indented blocks give to a shell, a whole command each."""
    text = re.sub(r"^```.*?^```", "", text.replace("\\\n", " "), flags=re.M | re.S)
    return [" ".join(line.split()) for line in re.findall(r"^ {4}(\S.*)$", text, re.M)]


def run_lines(python: str) -> list[dict[str, str | float | int]]:
    with tempfile.TemporaryDirectory() as home:
        copy = Path(home) / "repository"
        ask_git("clone", "--quiet", "--no-hardlinks", str(ROOT), str(copy))
        binaries = Path(home) / "bin"
        binaries.mkdir()
        (binaries / "python").symlink_to(ask(python, "import sys; print(sys.executable)"))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
        more = {"HOME": home, "PATH": f"{binaries}:{os.environ['PATH']}"}
        shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=copy, env=kept | more, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return [run_line(shell, line) for line in lines_of_page(PAGE.read_text())]


def run_line(shell: subprocess.Popen[str], line: str) -> dict[str, str | float | int]:
    assert shell.stdin
    assert shell.stdout
    began = time.perf_counter()
    print(f"$ {line}", flush=True)
    shell.stdin.write(f'{line} < /dev/null\necho "{END} $?"\n')
    shell.stdin.flush()
    for said in shell.stdout:
        if END in said:
            before, _, code = said.rpartition(f"{END} ")
            print(before, end="")
            break
        print(said, end="", flush=True)
    else:
        sys.exit("the shell has ended before the page")
    seconds = time.perf_counter() - began
    print(f"[{seconds:.1f} s, exit code {int(code)}]", flush=True)
    return {"line": line, "seconds": round(seconds, 1), "code": int(code)}


def ask(python: str, code: str) -> str:
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def ask_git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main()
