"""Asks for a retraining where there is an alarm."""

import re
from dataclasses import replace

from lepton_jax.improvement.request import RetrainRequest
from lepton_jax.monitoring.report import DriftReport


def with_request(report: DriftReport, model: str, requests: str, path: str) -> DriftReport:
    """Writes a retrain request to `path` where the report is an alarm; '' writes none.

    Args:
      model: NAME@ALIAS; `requests`: the folder with kept requests.
    """
    if not path or not report.alarm:
        return report
    cause = report.causes[0].as_json() if report.causes else None
    RetrainRequest(re.split("[@/]", model)[0], requests, cause).write(path)
    return replace(report, retrain_request=path)
