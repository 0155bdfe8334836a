"""The model_card.md of a bundle: what the record knows of the model, and what it does not know."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.evaluation.answered import AnsweredExamples
from lepton_jax.export.exportable import Exportable
from lepton_jax.export.performance import Performance
from lepton_jax.formats import format_metric, format_seconds
from lepton_jax.registry.gate.measures import list_bins, measure_calibration

MOST_CLASSES = 200
"""Classes of which the card has a row; metrics.json has all of them."""

NO_LICENCE = "not recorded. Ask whoever made the data."

_DOES = {
    "class": "answers with one of {classes} classes",
    "objects": "finds objects of {classes} classes in an image",
    "text": "answers a text with a text",
    "image": "makes images",
}


def write_model_card(
    title: str,
    model: Exportable,
    signature: Mapping[str, Any],
    lineage: Mapping[str, Any],
    performances: Sequence[Performance],
    results: Mapping[str, Any],
    answered: AnsweredExamples | None,
) -> str:
    """Returns model_card.md.

    Args:
      title: what the model is, in a few words.
      lineage: the content of lineage.json, which names nobody.
      results: the content of metrics.json.
      answered: what the model answered to each example of `test`, where that is kept.
    """
    overall = [p for p in performances if not p.class_name]
    by_class = [p for p in performances if p.class_name]
    parts = [
        f"# Model card: {title}",
        "## Intended use",
        _intended_use(model, signature),
        "## Data and licence",
        _data(model, lineage),
        "## Metrics",
        _metrics(overall),
    ]
    if by_class:
        parts += ["## Metrics by class", _by_class(by_class)]
    parts += [
        "## Calibration",
        _calibration(results, signature, answered),
        "## Limits",
        _bullets(_limits(model, signature)),
        "## Training cost",
        _cost(model, lineage),
        "## Lineage",
        _lineage(lineage),
    ]
    return "\n\n".join(parts) + "\n"


def _intended_use(model: Exportable, signature: Mapping[str, Any]) -> str:
    inputs = ", ".join(
        f"`{k}` {d['dtype']} {d['shape']}" for k, d in sorted(signature["inputs"].items())
    )
    does = _DOES.get(signature["answer"], "answers with numbers")
    if (signature.get("text") or {}).get("goes_on"):
        does = "continues a text"
    return (
        f"The model {does.format(classes=len(model.classes))}. It takes {inputs}. It is meant for "
        "inputs that are like those in examples/. Nothing is known of inputs of another kind."
    )


def _data(model: Exportable, lineage: Mapping[str, Any]) -> str:
    cost = model.training
    config = lineage["config"]["data"]
    return _bullets(
        [
            f"Data: {cost.get('data') or 'not described'}",
            f"Source: `{json.dumps(config['source'], sort_keys=True)}`",
            f"Fingerprint: `{lineage['data_fingerprint']}`",
            f"Licence of the data: {cost.get('licence') or NO_LICENCE}",
            "Licence of the weights: whoever gives you this bundle decides it.",
        ]
    )


def _metrics(overall: Sequence[Performance]) -> str:
    if not overall:
        return "The record holds no results of this step."
    rows = [f"| {p.split} | {p.metric} | {_number(p.value)} | {_interval(p)} |" for p in overall]
    table = ["| split | metric | value | 95 % interval |", "|---|---|---|---|", *rows]
    return "\n".join(
        [
            *table,
            "",
            "The interval of a share is Wilson's. That of a mean over classes is by the bootstrap, "
            "of 1,000 draws. A metric without an interval is a mean, of which the record does not "
            "hold the spread.",
        ]
    )


def _by_class(by_class: Sequence[Performance]) -> str:
    splits = sorted({p.split for p in by_class})
    lines: list[str] = []
    for split in splits:
        of_split = [p for p in by_class if p.split == split]
        metrics = sorted({p.metric for p in of_split})
        names = list(dict.fromkeys(p.class_name for p in of_split))
        cells = {(p.class_name, p.metric): p for p in of_split}
        lines += [f"| {split}: class | {' | '.join(metrics)} |", "|---" * (1 + len(metrics)) + "|"]
        for name in names[:MOST_CLASSES]:
            values = (cells[name, m] for m in metrics)
            said = (f"{_number(p.value)} {_interval(p)}".strip() for p in values)
            lines.append(f"| {_cell(name)} | {' | '.join(said)} |")
        if len(names) > MOST_CLASSES:
            lines += ["", f"metrics.json has {len(names) - MOST_CLASSES:,} more classes."]
        lines.append("")
    return "\n".join(lines).rstrip()


def _calibration(
    results: Mapping[str, Any], signature: Mapping[str, Any], answered: AnsweredExamples | None
) -> str:
    known = {split: m for split, m in sorted(results.items()) if m.get("calibration")}
    interval = ""
    if answered is not None and "test" not in known:
        population = measure_calibration(answered)
        low, high = map(format_metric, population.interval())
        interval = f", 95 % interval [{low}, {high}], on {len(answered):,} answers"
        known["test"] = {"ece": population.value(), "calibration": list_bins(answered)}
    if not known:
        if signature["answer"] != "class":
            return "It is not defined for answers of this kind."
        return (
            "The record does not hold it. A run whose config has the metric `calibration` "
            "(`--config.metrics.calibration.name=calibration`) measures it."
        )
    lines: list[str] = []
    for split, measured in known.items():
        of_split = interval if split == "test" else ""
        lines += [
            f"Expected calibration error on {split}: {_number(measured.get('ece'))}{of_split}",
            "",
            "| examples | mean confidence | accuracy |",
            "|---|---|---|",
            *(
                f"| {b['examples']:,} | {_number(b['confidence'])} | {_number(b['accuracy'])} |"
                for b in measured["calibration"]
                if b["examples"]
            ),
            "",
        ]
    return "\n".join(lines).rstrip()


def _limits(model: Exportable, signature: Mapping[str, Any]) -> list[str]:
    """Returns what follows from the signature and the data about what the model cannot do."""
    said = []
    if signature["answer"] == "class" and not (signature.get("text") or {}).get("goes_on"):
        said.append(
            "It names one of its classes for every input, also for one that is none of them."
        )
    if signature["decoding"]:
        shape = signature["inputs"][signature["decoding"]["input"]]["shape"]
        said.append(
            f"An image is brought to {shape[0]} x {shape[1]} pixels; finer things are lost."
        )
    if text := signature.get("text"):
        what = "is cut" if text["long"] == "truncate" else "is refused"
        said.append(f"A text of more than {text['size']} tokens {what}.")
    if "test" not in model.splits:
        said.append("There was no test split: nothing was held out to measure it on.")
    said += [
        "The intervals above are about chance in the choice of examples alone. Data that differ in "
        "kind from the test examples may give other results.",
        "Results on groups of people, and the behaviour on inputs made to mislead it, were not "
        "measured.",
    ]
    return said


def _cost(model: Exportable, lineage: Mapping[str, Any]) -> str:
    cost, devices = model.training, lineage.get("devices") or {}
    parameters = sum(w.size for w in model.weights.values())
    said = [f"{model.step:,} steps of {lineage['config'].get('batch_size', 0):,} examples"]
    if cost.get("seconds"):
        said.append(f"{format_seconds(cost['seconds'])} of training, without evaluations")
    if devices:
        said.append(f"Devices: {devices.get('count')} x {devices.get('kind')}")
    said.append(f"{parameters:,} parameters and running statistics")
    return _bullets([*said, "Energy: not measured"])


def _lineage(lineage: Mapping[str, Any]) -> str:
    code = lineage.get("harness_code") or lineage.get("code") or {}
    packages = lineage.get("packages") or {}
    return _bullets(
        [
            f"Command: `{lineage.get('command') or 'not recorded'}`",
            f"Config: `{lineage['config_fingerprint']}`, in full in lineage.json",
            f"Step: {lineage['step']:,}",
            f"Code: {code.get('commit') or 'no commit'}"
            + (", with changes" if code.get("diff_sha256") else ""),
            "Packages: " + (", ".join(f"{k} {v}" for k, v in sorted(packages.items())) or "-"),
            f"Exported: {lineage['exported']}",
        ]
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _number(value: float | None) -> str:
    return "not a number" if value is None else format_metric(value)


def _interval(performance: Performance) -> str:
    if performance.interval is None:
        return ""
    low, high = performance.interval
    return f"[{format_metric(low)}, {format_metric(high)}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
