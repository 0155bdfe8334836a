"""Compares examples with the reference that a bundle holds: all of them at once, and one by one."""

from collections.abc import Sequence

from lepton_jax.errors import UserError
from lepton_jax.monitoring.report import DriftReport
from lepton_jax.monitoring.traffic import Traffic
from lepton_jax.serving.drift.causes import rank_causes
from lepton_jax.serving.drift.measured import measure_examples
from lepton_jax.serving.drift.reference import Reference, read_reference
from lepton_jax.serving.drift.sequential import SequentialTest
from lepton_jax.serving.drift.window import WindowJudge, WindowVerdict
from lepton_jax.serving.loader import Bundle

FEWEST = 20
"""Examples, at least: of fewer hardly anything could be said."""


def compare_traffic(bundle: Bundle, traffic: Traffic, level: float) -> DriftReport:
    """Compares examples with the reference of a bundle.

    Args:
      level: the chance of a false alarm. Half of it is for the tests of all examples together, and
        half for the bets on one after another.

    Raises:
      UserError: when there are too few examples, or the bundle has no reference.
      BundleError: when the reference is damaged.
    """
    reference = read_reference(bundle.folder)
    if reference is None:
        raise UserError(
            f"{bundle.folder} holds no statistics of held-out examples: it is of an older version, "
            "or of data with fewer than 50; export it again"
        )
    if len(traffic) < FEWEST:
        raise UserError(
            f"{traffic.source}: {len(traffic)} examples are too few to tell; give {FEWEST} or more"
        )
    measured = measure_examples(bundle.signature, traffic.inputs, traffic.outputs)
    if measured.names != reference.names:
        raise UserError(f"{bundle.folder}: its statistics are of another version; export it again")
    verdict = WindowJudge(reference, len(traffic)).judge(measured.values, measured.label, level / 2)
    bets = SequentialTest(reference)
    bets.watch(measured.values, level / 2 / len(traffic))
    alarm, causes = verdict.alarm or bets.most >= 1, verdict.causes
    since = traffic.times[min(bets.since, len(traffic) - 1)] if bets.most >= 1 else ""
    if bets.most >= 1 and not causes:
        recent = slice(min(bets.since, len(traffic) - FEWEST), None)
        label = None if measured.label is None else measured.label[recent]
        causes = tuple(rank_causes(reference, measured.values[recent], label))
    return DriftReport(
        traffic.source,
        alarm,
        f"{level:.2g} is the chance of a false alarm of this look; by daily looks {30 * level:.2g} "
        "a month",
        tuple(_describe(reference, verdict, bets.most, since)),
        causes,
        {
            "bundle": bundle.id,
            "level": level,
            "evidence": bets.most,
            "since": since or None,
            "window": verdict.as_json(),
        },
    )


def _describe(
    reference: Reference, verdict: WindowVerdict, evidence: float, since: str
) -> Sequence[str]:
    lines = [f"{verdict.examples} examples against {len(reference)} held-out ones of the bundle"]
    for test in verdict.tests:
        mark = "alarm" if test.alarm else "quiet"
        beyond = "" if test.threshold is None else f", alarm from {test.threshold:.3g}"
        lines.append(f"{mark}  {test.test} {test.distance:.3g}{beyond} (p {test.p_value:.2g})")
    mark = "alarm" if evidence >= 1 else "quiet"
    when = f", since about {since}" if since else ""
    lines.append(f"{mark}  bets {evidence:.3g}, alarm from 1{when}")
    moved = [s for s in verdict.statistics if s.moved][:5]
    lines += [
        f"{s.name}: {s.reference:.4g} -> {s.window:.4g} (KS {s.ks:.2f}, PSI {s.psi:.2f})"
        for s in moved
    ]
    if verdict.performance:
        low, high = verdict.performance.interval
        lines.append(
            f"accuracy by confidence, without labels: {verdict.performance.accuracy:.3f} "
            f"({low:.3f} to {high:.3f}); held-out {verdict.performance.held_out:.3f}"
        )
    return lines
