"""Conditions on where a bundle comes from: `signed`, `clean`, `replayed>=3`."""

from dataclasses import dataclass

from lepton_jax.console import format_command
from lepton_jax.registry.gate.condition import GateFinding, refuse
from lepton_jax.registry.gate.evidence import Evidence
from lepton_jax.registry.verified import check_signed
from lepton_jax.signing.attestation import Replays, describe_replays
from lepton_jax.signing.signer import find_attester, find_signer


@dataclass(frozen=True)
class Signed:
    """That a key which is trusted here has signed the bundle."""

    def __str__(self) -> str:
        return "signed"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Checks the signature of the bundle's files."""
        said = str(find_signer(evidence.folder))
        return GateFinding(str(self), said, check_signed(evidence.folder))

    def chance(self, evidence: Evidence) -> str:
        return ""


@dataclass(frozen=True)
class Clean:
    """That the code of the run was committed."""

    def __str__(self) -> str:
        return "clean"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Looks at the commits that the lineage states, and whether the code differed from them."""
        code, harness = (evidence.lineage.get(key) for key in ("code", "harness_code"))
        cure = "commit the code, and train and export again"
        if not code or not code.get("commit"):
            what = f"{evidence.name} states no commit: its run was not in a git repository"
            return refuse(self, "no evidence", what, cure)
        for state in (code, harness or {}):
            if state.get("diff_sha256"):
                what = f"the code of the run differs from commit {state['commit'][:12]}"
                return refuse(self, "below the gate", what, cure)
        return GateFinding(str(self), f"its code is commit {code['commit'][:12]}")

    def chance(self, evidence: Evidence) -> str:
        return ""


@dataclass(frozen=True)
class Replayed:
    """That spans of the run were computed again and were the same, as a trusted key states."""

    least: int

    def __str__(self) -> str:
        return f"replayed>={self.least}"

    def judge(self, evidence: Evidence) -> GateFinding:
        """Looks at the replay that the signed statement of the bundle's making names."""
        attester, replays = find_attester(evidence.folder)
        line = f"sign --bundle=DIR --key=FILE.pem --workdir=DIR --spans={self.least}"
        cure = f"run: {format_command(line)}, and register it again"
        if attester.state != "trusted":
            what = f"no key that is trusted here states how {evidence.name} was made ({attester})"
            return refuse(self, "no evidence", what, cure)
        said = f"{describe_replays(replays)}, of {_count(replays)} draws, says {attester.name}"
        if _count(replays) < self.least:
            return refuse(self, "no evidence", f"{said}; must be >= {self.least}", cure)
        return GateFinding(str(self), said)

    def chance(self, evidence: Evidence) -> str:
        """Says how often a record passes in which one span is false."""
        replays = find_attester(evidence.folder)[1]
        if _count(replays) < self.least:
            return "how much a replay sees is known when there is one"
        of = max(int(replays[-1]["all_spans"]), 1)
        missed = 100 * (1 - 1 / of) ** _count(replays)
        return f"a record that is false in one of its {of} spans passes {missed:.0f} % of the time"


def _count(replays: Replays) -> int:
    """Counts the draws of the last replay: a span that was drawn twice counts twice."""
    return int(replays[-1]["draws"]) if replays and replays[-1]["spans"] else 0
