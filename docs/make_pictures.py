"""Draws the pictures of the docs anew, by small runs with commands that the docs show.

    python -m docs.make_pictures                  all of them, in some minutes on two cores
    python -m docs.make_pictures report.png       some of them

report.png is report.html as Chromium shows it. A GPU draws samples.png, by configs/mnist_flow.py.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parent
DIGITS = "train --config=digits_cnn --workdir=runs/digits"
PICTURES = {
    "curves.png": (DIGITS, "runs/digits/curves.png"),
    "confusion.png": (DIGITS, "runs/digits/confusion.png"),
    "mistakes.png": (DIGITS, "runs/digits/mistakes.png"),
    "detections.png": (
        "train --config=bccd_detector:tiny --workdir=runs/boxes --config.train_for='40 epochs' "
        "--config.data.source.examples=128 --config.evaluate_every='10 epochs'",
        "runs/boxes/detections.png",
    ),
    "attention.png": (
        "train --config=scan_simple:tiny --workdir=runs/backwards --config.train_for='40 epochs' "
        "--config.data.source.examples=2048 --config.model.layers=1 "
        "--config.model.bidirectional=False --config.model.width=64 --config.model.hidden=64 "
        "--config.model.dropout=0.3 --config.batch_size=32 --config.optimizer.learning_rate=1e-2 "
        "--config.evaluate_every='10 epochs' --config.checkpoint_every='10 epochs'",
        "runs/backwards/attention.png",
    ),
    "report.png": (
        "ablate --config=digits_cnn --workdir=runs/rates --config.train_for='10 epochs' "
        "--vary optimizer.learning_rate=1e-3,3e-3 --vary model.dropout=0.1,0.5 --seeds=5",
        "runs/rates/report.html",
    ),
}
"""The command that makes the picture of a name, and the file that it leaves."""
WIDTH, HEIGHT = 1280, 2400
"""Pixels of the picture of a page."""


def main(names: Sequence[str]) -> None:
    """Draws the pictures of these names, or all, in the folder of the docs."""
    environment = os.environ | {"PYTHONPATH": str(DOCS.parent)}
    with tempfile.TemporaryDirectory() as folder:
        for name in names or PICTURES:
            command, made = PICTURES[name]
            file = Path(folder, made)
            if not file.exists():
                line = [sys.executable, "-m", "lepton_jax", *shlex.split(command)]
                subprocess.run(line, cwd=folder, env=environment, check=True)
            if file.suffix == ".html":
                photograph(file, DOCS / name)
            else:
                shutil.copy(file, DOCS / name)


def photograph(page: Path, picture: Path) -> None:
    """Lets Chromium draw the first screens of a page as a PNG."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit(f"{picture.name} needs chromium or google-chrome, and neither is installed")
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    subprocess.run([chromium, *flags, f"--screenshot={picture}", page.as_uri()], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
