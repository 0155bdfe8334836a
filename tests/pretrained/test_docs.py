"""Every command of docs/finetuning.md works, in the tiny form of its recipe."""

import re
import shlex
from pathlib import Path

import pytest

import launch
from lepton_jax.cli import run
from tests.pretrained import peers
from tests.pretrained.peers import VIT

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_the_commands_of_the_page_on_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (ROOT / "docs/finetuning.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"^    lepton (.*)$", text, re.M)
    assert len(commands) == 9
    peer = peers.peer("ViTForImageClassification", **VIT, num_labels=21)
    peers.saved(peer, tmp_path / "vit-base-patch16-224-in21k")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        words = [f"{w}:tiny" if w.startswith("--config=") else w for w in shlex.split(command)]
        code, _ = run.run(launch.COMMANDS, words)
        assert code == 0, command
