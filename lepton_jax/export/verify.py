"""Judges a bundle: intact, and answering as its exporter's model did, where the lab does not exist.

Who signed the bundle is found out first, before anything else of it is parsed.

The verdict is `verdict.json` in the bundle's folder. It names the bundle's id and is the one file
that the manifest does not list, so that judging a bundle does not change it. It is a new file that
takes the place of what is there: nothing is written through a link or into a file with two names.
"""

import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.answers.compare import compare_arrays
from lepton_jax.answers.kind import AnswerComparison, Kind
from lepton_jax.archive import bundle_folder, verdict_path
from lepton_jax.config.gate_text import ROBUST
from lepton_jax.console import format_command
from lepton_jax.errors import WorkError
from lepton_jax.evaluation.answered import ANSWERED, MOST_BYTES, AnsweredExamples, parse_answered
from lepton_jax.export.heldout import HeldOut, find_bundle_kind, load_test_set
from lepton_jax.export.mlflow_model import find_foreign
from lepton_jax.export.robustness import Robustness, find_robustness
from lepton_jax.export.verify_reference import check_reference
from lepton_jax.export.verify_variants import check_variants
from lepton_jax.io.atomic import replace_file
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.isolation.clean_process import ABSENT, run_isolated
from lepton_jax.isolation.promise import tell_end
from lepton_jax.isolation.tried import note_tried
from lepton_jax.registry.own_verdict import note_verdict
from lepton_jax.serving import loader
from lepton_jax.serving.cached import has_cached
from lepton_jax.signing.attestation import describe_replays
from lepton_jax.signing.signer import REFUSED, Signer, find_attester, find_signer, tidy_bundle

MEASURED = (1, 64)
"""The batch sizes at which both programs are measured."""

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
"""How far a float output may lie from the exporter's, by the precision of the computation.
Measured: 0 on one machine, 1.5e-6 in float32 between versions of XLA."""


@dataclass(frozen=True)
class BundleCheck:
    """The result of one check. `ok` is None where it could not be made."""

    name: str
    ok: bool | None
    detail: str

    def __str__(self) -> str:
        mark = {True: "ok    ", False: "FAILED", None: "skip  "}[self.ok]
        return f"  {mark} {self.name}: {self.detail}"


@dataclass(frozen=True)
class BundleVerdict:
    """Every check of a bundle. It is verified if none failed."""

    id: str
    path: str
    checks: tuple[BundleCheck, ...]
    time: str
    not_kept: str = ""
    """Why the verdict does not lie in the bundle's folder; '' where it does."""
    cure: str = ""
    """What helps where it does not hold; '' for another export."""
    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By program and batch size, processor seconds of an answer."""
    exact_sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """By program, the batch sizes at which the bytes of an answer are equal; [] if not measured."""
    robustness: Robustness | None = None
    """How corrupted inputs are answered; None where it was not measured."""

    @property
    def ok(self) -> bool:
        return all(c.ok is not False for c in self.checks)

    def as_json(self) -> dict[str, Any]:
        checks = [asdict(c) for c in self.checks]
        said = {"id": self.id, "ok": self.ok, "time": self.time, "checks": checks}
        if self.seconds:
            said |= {"seconds": self.seconds, "default_program_on_cpu": self.default_program}
            said |= {"exact_sizes": {k: list(v) for k, v in self.exact_sizes.items()}}
        if self.robustness:
            said[ROBUST] = self.robustness.as_json()
        return said

    @property
    def default_program(self) -> str:
        """The program that is faster on a CPU: by the mean of the ratios, in logarithms."""
        ratios = self._ratios()
        return "onnx" if ratios and math.prod(ratios) < 1 else "stablehlo"

    def _ratios(self) -> list[float]:
        """Returns the seconds of the ONNX program over those of the other, by batch size."""
        if not {"onnx", "stablehlo"} <= self.seconds.keys():
            return []
        onnx, other = self.seconds["onnx"], self.seconds["stablehlo"]
        return [onnx[n] / max(other[n], 1e-9) for n in onnx]

    def __str__(self) -> str:
        lines = [f"{self.id or 'no id'}", *map(str, self.checks)]
        if ratios := self._ratios():
            said = ", ".join(
                f"{r:.2g} at {n}" for n, r in zip(self.seconds["onnx"], ratios, strict=True)
            )
            lines.append(
                f"Default program on CPU: {self.default_program} (time of onnx over stablehlo, by "
                f"batch size: {said})"
            )
        if self.ok:
            unseen = [c.name for c in self.checks if c.ok is None]
            if unseen:
                lines.append(f"Not looked at: {', '.join(unseen)}")
            lines.append(
                f"Verified; {self.not_kept}"
                if self.not_kept
                else f"Verified; the verdict is in {verdict_path(self.path)}; next: "
                + format_command("register", bundle=self.path, model="NAME")
            )
        else:
            line, flag = "export --workdir=DIR", "out"
            if not os.path.isdir(self.path):
                line, flag = "export --workdir=DIR --out=DIR", "archive"
            again = f"export it again: {format_command(line, **{flag: self.path})}"
            lines.append(f"{self.path} is NOT verified; next: {self.cure or again}")
        return "\n".join(lines)


def verify_bundle(
    bundle: str, *, workdir: str | None = None, signed: bool = False, robust: bool = False
) -> BundleVerdict:
    """Checks the bundle in a folder, and writes the verdict into it; beside it, of an archive.

    Args:
      signed: also demands that a key which this machine trusts has signed the bundle.
      robust: also measures how corrupted inputs are answered. What the gate of the bundle's config
        asks for is measured without it.
      workdir: the run it came from; by default the test data is found from the bundle's own
        lineage, which says nothing of local paths.

    Raises:
      UserError: when there is no such folder or archive.
      WorkError: when the archive is refused, or the disk is full. Where this user may not write
        into the bundle, the verdict is returned and says so.
    """
    folder = bundle_folder(bundle)
    if not os.path.lexists(folder / loader.MANIFEST):
        missing = BundleCheck("intact", False, f"{loader.MANIFEST} is missing: this is no bundle")
        return BundleVerdict("", bundle, (missing,), utc_timestamp())
    tidy_bundle(folder)
    try:
        identity = loader.bundle_id(folder)
    except loader.BundleError:
        identity = ""  # as `faults` says
    seconds: dict[str, Any] = {}
    exact: dict[str, list[int]] = {}
    robustness: Robustness | None = None
    signer = find_signer(folder)
    checks = _check_signer(signer, signed)
    if all(c.ok is not False for c in checks):
        checks += _check_attester(folder)
    if any(c.ok is False for c in checks):
        verdict = BundleVerdict(identity, bundle, tuple(checks), utc_timestamp())
        return _keep(replace(verdict, cure=signer.cure(bundle)))
    if faults := loader.find_faults(folder):
        checks += [BundleCheck("intact", False, f) for f in faults]
    else:
        checks += [BundleCheck("intact", True, "every file is as the manifest lists it")]
        try:
            test = load_test_set(folder, workdir)
            checks += _check_behaviour(folder, identity, test, workdir is not None, seconds, exact)
            if all(c.ok is not False for c in checks):
                found = find_robustness(folder, identity, test, robust)
                robustness = found if isinstance(found, Robustness) else None
                checks += [BundleCheck(ROBUST, bool(robustness) or None, str(found))] * bool(found)
        # A manifest written around nonsense is intact; what is in it need not even have the keys.
        except (loader.BundleError, LookupError, TypeError, ValueError, AttributeError) as e:
            said = str(e) if isinstance(e, loader.BundleError) else f"{type(e).__name__}: {e}"
            checks.append(BundleCheck("readable", False, said))
    verdict = BundleVerdict(identity, bundle, tuple(checks), utc_timestamp(), seconds=seconds)
    return _keep(replace(verdict, exact_sizes=exact, robustness=robustness))


def _check_signer(signer: Signer, demanded: bool) -> list[BundleCheck]:
    """Checks who signed the bundle; there is nothing to check of one without a signature."""
    if signer.state == "unsigned" and not demanded:
        return []
    ok = True if signer.state == "trusted" else None
    if signer.state in REFUSED or (demanded and not ok):
        ok = False
    return [BundleCheck("signed", ok, str(signer))]


def _check_attester(folder: Path) -> list[BundleCheck]:
    """Checks who states how the bundle was made, and whether the bundle says the same."""
    attester, replays = find_attester(folder)
    if attester.state == "unsigned":
        return []
    ok = True if attester.state == "trusted" else None
    said = f"{attester}; {describe_replays(replays)}" if ok else str(attester)
    return [BundleCheck("attested", False if attester.state in REFUSED else ok, said)]


def _keep(verdict: BundleVerdict) -> BundleVerdict:
    """Writes a verdict to where it lies, unless this user may not. Returns it with why."""
    target, text = verdict_path(verdict.path), json.dumps(verdict.as_json(), indent=1) + "\n"
    try:
        with replace_file(target) as file:
            file.write(text.encode())
        note_verdict(verdict.id, text.encode())
    except OSError as e:
        if e.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            why = (
                f"the verdict is not kept: {target.parent} cannot be written ({e.strerror}); --json"
            )
            return replace(
                verdict, not_kept=f"{why} prints it, and a copy of the bundle can hold it"
            )
        raise WorkError(f"cannot write {target}: {e.strerror}") from None
    return verdict


def _check_behaviour(
    folder: Path,
    identity: str,
    test: HeldOut | str,
    trusted: bool,
    seconds: dict[str, Any],
    exact: dict[str, list[int]],
) -> list[BundleCheck]:
    """Makes the checks for which the programs must run; fills `seconds` and `exact`.

    `trusted`: whether code of the user's own may run, as the run was given.
    """
    bundle = loader.Bundle(folder, identity)
    tell_end(bundle)
    examples = bundle.examples()
    signature = bundle.signature
    tolerance = min(abs(float(signature["tolerance"])), max(TOLERANCE.values()))
    own = examples["inputs"]
    texts = _read_texts(folder, signature)
    onnx = signature["programs"].get("onnx", {})
    measured = MEASURED if "path" in onnx else MEASURED[:1]
    places, rows = bundle.cached_rows(own)
    # A program is compiled for each batch size: examples are repeated to one that is measured.
    count = len(next(iter(own.values())))
    many = np.arange(max(count, *measured)) % count
    inputs = [{k: v[many] for k, v in own.items()}, {k: v[:1] for k, v in own.items()}]
    if isinstance(test, HeldOut):
        inputs.append(test.inputs)
    how: dict[str, Any] = {"measured": measured, "sized": "path" not in onnx}
    said = [t["texts"] for t in texts]
    report, answers = run_isolated(folder, identity, inputs, said, rows=rows, **how)
    bad = report["importable"] + report["violations"]
    checks = [
        BundleCheck(
            "isolated",
            not bad,
            "; ".join(bad)
            or f"{', '.join(ABSENT)} cannot be imported there; no code of the bundle ran",
        )
    ]
    if not answers:
        failed = [BundleCheck("answers", False, report["error"])] if report["error"] else []
        return [*checks, *failed]
    if not bad:
        note_tried(identity, "stablehlo")
    seconds |= {"stablehlo": report["seconds"]}
    exact |= {"stablehlo": report["exact_sizes"]}
    # Where the kind is not used, the test set's line says why.
    kind, _ = find_bundle_kind(bundle.answer, trusted)
    expected = examples["outputs"]
    first = {k: v[:1] for k, v in expected.items()}
    answers[0] = {k: y[:count] for k, y in answers[0].items()}
    checks.append(_check("answers", kind.compare(answers[0], expected, tolerance)))
    checks.append(_check("one alone", kind.compare(answers[1], first, tolerance)))
    if texts:
        checks.append(_check_tokens(report["texts"], texts, signature["text"]))
    wanted = {"probabilities": expected["probabilities"][places]} if rows else {}
    if rows:
        checks.append(_check("with a cache", compare_arrays(answers[-1], wanted, tolerance)))
    if "path" in onnx:
        rows = rows if has_cached(signature, "onnx") else []
        how = {"measured": measured, "sized": True, "program": "onnx", "whole": [own]}
        again, answers_onnx = run_isolated(folder, identity, [own, inputs[1]], rows=rows, **how)
        if rows and answers_onnx:
            compared = compare_arrays(answers_onnx.pop(), wanted, tolerance)
            checks.append(_check("onnx with a cache", compared))
        checks.append(
            _check_onnx(again, answers_onnx, (expected, first, expected), kind, tolerance)
        )
        if checks[-1].ok:
            note_tried(identity, "onnx")
            seconds |= {"onnx": again["seconds"]}
            exact |= {"onnx": again["exact_sizes"]}
    elif onnx:
        checks.append(BundleCheck("onnx", None, f"unavailable: {onnx.get('unavailable')}"))
    of_float32 = {"stablehlo": report["seconds"]} | dict(seconds)
    judged = check_variants(bundle, own, kind, tolerance, measured, of_float32)
    checks += [BundleCheck(*said) for said in judged]
    checks.append(BundleCheck(*check_reference(bundle, examples)))
    if foreign := find_foreign(folder, signature):
        checks.append(
            BundleCheck("mlflow", False, f"{', '.join(foreign)}: not as an export writes it")
        )
    if isinstance(test, HeldOut):
        checks.append(_check_result(answers[2], test))
    else:
        checks.append(BundleCheck("test set", None, test))
    if (folder / ANSWERED).exists():
        kept = parse_answered(loader.read_file(folder, ANSWERED, MOST_BYTES))
        checks.append(_check_each(kept, answers[2] if isinstance(test, HeldOut) else None, test))
    return checks


def _check_onnx(
    report: Mapping[str, Any],
    answers: Sequence[Mapping[str, np.ndarray]],
    expected: Sequence[Mapping[str, np.ndarray]],
    kind: Kind,
    tolerance: float,
) -> BundleCheck:
    """Checks what the ONNX program answered, where jax does not exist."""
    bad = report["importable"] + report["violations"]
    if bad or not answers:
        return BundleCheck("onnx", False, "; ".join(bad) or str(report["error"]))
    compared = [kind.compare(*pair, tolerance) for pair in zip(answers, expected, strict=True)]
    wrong = next((c for c in compared if not c.same), None)
    return _check("onnx", wrong or compared[0])


def _read_texts(folder: Path, signature: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Reads the texts of the examples, and the tokens that the exporter made of each."""
    if not signature.get("text"):
        return []
    texts = loader.read_json(folder, "examples/texts.json")
    if not isinstance(texts, list) or not texts:
        raise ValueError("examples/texts.json holds no texts")
    return texts


def _check_tokens(
    got: Sequence[Mapping[str, list[int]]],
    expected: Sequence[Mapping[str, Any]],
    how: Mapping[str, Any],
) -> BundleCheck:
    """Checks that texts become the tokens that the model was trained on."""
    fields = how["inputs"]
    for i, (inputs, wanted) in enumerate(zip(got, expected, strict=True)):
        tokens, count = inputs[fields["tokens"]], len(wanted["tokens"])
        length = inputs[fields["length"]] if "length" in fields else count
        if how.get("goes_on"):  # the place of what comes next counts too
            length = min(length, count)
        if tokens[:count] != wanted["tokens"] or length != count:
            return BundleCheck("texts", False, f"the text of example {i} becomes different tokens")
    return BundleCheck("texts", True, f"{len(expected)} texts: their tokens equal")


def _check(name: str, comparison: AnswerComparison) -> BundleCheck:
    """Returns a comparison of answers as a check."""
    return BundleCheck(name, comparison.same, comparison.detail)


def _check_each(
    kept: AnsweredExamples, answers: Mapping[str, np.ndarray] | None, test: HeldOut | str
) -> BundleCheck:
    """Compares what the bundle keeps of each example of `test` with what its program answers."""
    count = len(kept)
    if answers is None or isinstance(test, str):
        return BundleCheck("each example", None, f"{count} answers are not compared: {test}")
    if kept.of != len(test) or kept.example.min() < 0 or kept.example.max() >= len(test):
        return BundleCheck("each example", False, f"kept of {kept.of} examples, not {len(test)}")
    said, true = (np.asarray(a["label"])[kept.example] for a in (answers, test.truth))
    other = int(((said != kept.answer) | (true != kept.label)).sum())
    return BundleCheck(
        "each example",
        other <= count // 1000,  # a tie may fall otherwise elsewhere
        f"{count - other} of {count} answers are as kept",
    )


def _check_result(answers: Mapping[str, np.ndarray], test: HeldOut) -> BundleCheck:
    """Measures the recorded result again."""
    result, recorded = test.measure(answers), test.recorded
    return BundleCheck(
        "test set",
        abs(result - recorded) <= test.allowed,
        f"{test.kind.metric} {result:.6g} on all {len(test)} examples, recorded {recorded:.6g}",
    )
