"""A dashboard of Grafana over the server's metrics, as JSON to import."""

from typing import Any

PANELS = (
    (
        "Requests a second",
        "reqps",
        "sum by (code) (rate(lepton_requests_total{%(model)s}[1m]))",
        "{{code}}",
    ),
)
"""A title, a unit, a query where %(model)s is the model's filter, and the legend of a curve."""


def build_dashboard(model: str) -> dict[str, Any]:
    """Returns a dashboard of two columns, one panel a question; its data source is a variable."""
    chosen = f'model="{model}"'
    source = {"type": "prometheus", "uid": "${source}"}
    panels = [
        {
            "id": i + 1,
            "type": "timeseries",
            "title": title,
            "datasource": source,
            "gridPos": {"x": 12 * (i % 2), "y": 8 * (i // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [
                {
                    "refId": "A",
                    "datasource": source,
                    "expr": query % {"model": chosen},
                    "legendFormat": legend,
                }
            ],
        }
        for i, (title, unit, query, legend) in enumerate(PANELS)
    ]
    return {
        "title": f"{model}, served",
        "uid": f"lepton-{model}"[:40],
        "schemaVersion": 41,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }
