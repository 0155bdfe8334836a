"""Ten thousand hostile requests to a server, and whether honest ones are answered beside them.

    python -m benchmarks.hostile_requests    # makes docs/results/hostile_requests.json

The requests are those of tests/serving/http/hostile.py, drawn by a seed. After each ten an honest
one is sent, whose answer is compared byte for byte with the bundle's own. Prints what was refused
and how.
"""

import json
import tempfile
from collections import Counter
from pathlib import Path

from lepton_jax import api
from tests.serving.http.test_hostile import attack
from tests.serving.running import run_bundles

ROWS = Path(__file__).parent.parent / "docs/results/hostile_requests.json"
COUNT = 10_000


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        api.train("digits_cnn:tiny", str(folder / "run"))
        api.export(workdir=str(folder / "run"), out=str(folder / "bundle"))
        with run_bundles(folder / "server", f"--bundle=digits={folder / 'bundle'}") as server:
            attack(server, folder / "bundle", 1000, 1)  # the memory that it takes for good
            before = server.memory()
            statuses = attack(server, folder / "bundle", COUNT, 2)
            grown = server.memory() - before
            failed = len(server.events("failed"))
            ended = server.process.poll() is not None
    kinds: dict[str, Counter[int]] = {}
    for (kind, status), count in statuses.items():
        kinds.setdefault(kind, Counter())[status] += count
    said = {
        "requests": COUNT,
        "honest": COUNT // 10,
        "crashed": ended,
        "failures inside": failed,
        "memory grown, MB": round(grown / 1e6, 1),
        "kinds": {kind: dict(sorted(c.items())) for kind, c in sorted(kinds.items())},
    }
    ROWS.write_text(json.dumps(said, indent=1) + "\n")
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
