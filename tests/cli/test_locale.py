"""Files are UTF-8, whatever the locale says."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_config_is_read_as_utf_8_under_an_ascii_locale(tmp_path):
    (tmp_path / "x.json").write_text('{"note": "\u00e9"}', encoding="utf-8")
    code = (
        "import sys; from lepton_jax.config import config_file; "
        "print(ascii(config_file._read_json(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert "\\xe9" in done.stdout, done.stderr
