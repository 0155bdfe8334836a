"""Runs the loader where the lab does not exist, and reports what happened there.

Started as `python -I -S -B isolated.py` with a request in JSON on stdin. `-I` and `-S` keep the
current directory, the environment and site's path files out; the one folder added to the path
holds the few packages that a bundle needs and no others. Whatever would run a program, open a
connection or unpickle is refused and reported.

Imports: the standard library only, until the rules stand.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

REFUSED = frozenset(
    {"os.exec", "os.posix_spawn", "os.spawn", "os.system", "pickle.find_class", "socket.connect"}
    | {"subprocess.Popen"}
)


FEW = 4
"""Examples by which it is found which batch sizes give equal bytes."""


def refuse_escapes(bundle: str, violations: list[str]) -> None:
    """Installs a hook: from here on code files of the bundle, and events in REFUSED, are errors.

    Args:
      violations: receives what was refused.
    """
    inside = os.path.realpath(bundle) + os.sep

    def hook(event: str, args: tuple[Any, ...]) -> None:
        what = ""
        if event in REFUSED:
            what = f"{event} {args[0]!s:.80}"
        elif event in ("exec", "ctypes.dlopen", "import"):
            source = args[0] if event == "ctypes.dlopen" else None
            if event == "exec":
                source = getattr(args[0], "co_filename", None)
            elif event == "import":
                source = args[1]
            if isinstance(source, str) and os.path.realpath(source).startswith(inside):
                what = f"{event} {source}"
        if what:
            violations.append(what)
            raise PermissionError(f"refused while a bundle is verified: {what}")

    sys.addaudithook(hook)


def limit_memory(most: int) -> None:
    """Limits the memory that this process may write to, in bytes, and lets it leave no core file.

    A program that asks for more gets an error, or its process ends.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if before != resource.RLIM_INFINITY:
        most = min(most, before)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def can_import(name: str) -> bool:
    """Tells whether a package can be imported, by importing it."""
    try:
        __import__(name)
    except ModuleNotFoundError:
        return False
    return True


def measure_seconds(call: Callable[[], Any]) -> float:
    """Returns the least processor seconds of a call: of as many as go into a fifth of a second, at
    least two, after one that is not counted.
    """
    call()
    found: list[float] = []
    while len(found) < 2 or (sum(found) < 0.2 and len(found) < 100):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Answers the request on stdin with a report in JSON on stdout."""
    request = json.load(sys.stdin)
    limit_memory(request["memory"])
    sys.path.append(request["packages"])
    violations: list[str] = []
    refuse_escapes(request["bundle"], violations)
    report: dict[str, Any] = {
        "importable": [n for n in request["absent"] if can_import(n)],
        "error": None,
        "exact_sizes": [],
        "seconds": {},
        "texts": [],
    }
    import numpy as np
    from serving import loader  # among the packages
    from serving.batches import sizes

    try:
        bundle = loader.load_bundle(request["bundle"], request["id"], request["program"])
        for job in request["jobs"]:
            if "rows" in job:
                read = bundle.cached.probabilities(job["rows"])
                np.savez(job["outputs"], probabilities=read)
                continue
            inputs = {k: np.load(p, mmap_mode="r") for k, p in job["inputs"].items()}
            answer = bundle.compute if job["whole"] else bundle.predict
            np.savez(job["outputs"], **answer(inputs))
        for texts in request["texts"]:
            encoded, _ = bundle.encode(*texts)
            report["texts"].append({k: v.tolist() for k, v in encoded.items()})
        for count in request["measured"]:
            first = {k: np.load(p, mmap_mode="r") for k, p in request["jobs"][0]["inputs"].items()}
            rows = {k: np.asarray(x)[np.arange(count) % len(x)] for k, x in first.items()}
            report["seconds"][str(count)] = measure_seconds(partial(bundle.compute, rows))
        if request["sized"]:
            rows = {k: np.load(p)[:FEW] for k, p in request["jobs"][0]["inputs"].items()}
            report["exact_sizes"] = sizes.find_exact_sizes(bundle.compute, rows)
    except (loader.BundleError, loader.InputError) as e:
        report["error"] = str(e)
    except PermissionError as e:  # the guard's own; whatever it stopped is in `violations`
        report["error"] = str(e)

    loaded = {name.partition(".")[0] for name in sys.modules}
    report["importable"] += sorted(loaded & set(request["absent"]))
    report["violations"] = violations
    print(json.dumps(report))


if __name__ == "__main__":
    main()
