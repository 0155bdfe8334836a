"""Judges the variants of a bundle: their answers, and what they cost and save beside float32."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.answers.kind import Kind
from lepton_jax.isolation.clean_process import run_isolated
from lepton_jax.serving import loader
from lepton_jax.serving.programs import read_arrays


def check_variants(
    bundle: loader.Bundle,
    inputs: Mapping[str, np.ndarray],
    kind: Kind,
    tolerance: float,
    measured: Sequence[int],
    seconds: Mapping[str, Mapping[str, float]],
) -> Iterator[tuple[str, bool | None, str]]:
    """Runs each program of each variant on the examples, where the lab does not exist.

    Args:
      measured: batch sizes at which an answer is measured.
      seconds: processor seconds of the programs in float32, by program and batch size.

    Yields the program's name, whether it answers as it did when it was exported, and a sentence.
    """
    whole = (bundle.folder / loader.WEIGHTS).stat().st_size
    for name, said in (bundle.signature.get("variants") or {}).items():
        stored = read_arrays(bundle.folder, said["examples"])
        expected = {k.removeprefix("outputs."): v for k, v in stored.items()}
        cost = (
            f"{_describe_cost(said.get('measured'))}, {int(said['bytes']) / whole:.2f} of the size"
        )
        for program in ("stablehlo", "onnx"):
            full = f"{name}/{program}"
            if "path" not in said["programs"][program]:
                yield full, None, f"unavailable: {said['programs'][program].get('unavailable')}"
                continue
            report, answers = run_isolated(
                bundle.folder, bundle.id, [inputs], program=full, measured=measured
            )
            bad = report["importable"] + report["violations"]
            if bad or not answers:
                yield full, False, "; ".join(bad) or str(report["error"])
                continue
            compared = kind.compare(answers[0], expected, tolerance)
            times = _describe_times(report["seconds"], seconds.get(program) or {})
            yield full, compared.same, f"{compared.detail}; {cost}{times}"


def _describe_cost(measured: Mapping[str, Any] | None) -> str:
    if not measured:
        return "its metric was not measured"
    low, high = (float(x) for x in measured["interval"])
    return (
        f"{measured['metric']} {float(measured['variant']):.6g}, in float32 "
        f"{float(measured['float32']):.6g}: {float(measured['difference']):+.2g} "
        f"[{low:+.2g}, {high:+.2g}] on {int(measured['examples']):,} examples"
    )


def _describe_times(found: Mapping[str, float], of_float32: Mapping[str, float]) -> str:
    """Says the time of an answer over that of float32, by batch size."""
    ratios = [f"{found[n] / max(of_float32[n], 1e-9):.2g} at {n}" for n in found if n in of_float32]
    return f", {' and '.join(ratios)} of the time" if ratios else ""
