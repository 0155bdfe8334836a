"""A dashboard of Grafana over the server's metrics, as JSON to import."""

from typing import Any

PANELS = (
    (
        "Requests a second, by status",
        "reqps",
        "sum by (code) (rate(lepton_requests_total{%(model)s}[1m]))",
        "{{code}}",
    ),
    (
        "Time of a request: 99 of 100 are below",
        "s",
        "histogram_quantile(0.99, sum by (le, route) (rate(lepton_request_seconds_bucket[1m])))",
        "{{route}}",
    ),
    (
        "Rows that wait",
        "short",
        "sum by (instance) (lepton_queued_rows{%(model)s})",
        "{{instance}}",
    ),
    (
        "Rows that are computed together, on average",
        "short",
        "sum(rate(lepton_batch_rows_sum{%(model)s}[1m])) / "
        "sum(rate(lepton_batch_rows_count{%(model)s}[1m]))",
        "rows",
    ),
    (
        "Processors in the program, by version",
        "short",
        "sum by (version) (rate(lepton_compute_seconds_total{%(model)s}[1m]))",
        "version {{version}}",
    ),
    (
        "Versions that answer",
        "short",
        "sum by (version, program) (lepton_model_info{%(model)s})",
        "version {{version}}, {{program}}",
    ),
    (
        "Trouble: loads that failed, canaries that were ended, a registry that is away",
        "short",
        'label_replace(sum(increase(lepton_model_load_failures_total{%(model)s}[10m])), "what", '
        '"loads that failed", "", "") or label_replace(sum(increase(lepton_canary_ended_total'
        '{%(model)s}[10m])), "what", "canaries ended", "", "") or label_replace(sum(1 - '
        'lepton_registry_up{%(model)s}), "what", "registries away", "", "")',
        "{{what}}",
    ),
    (
        "Memory of a server",
        "bytes",
        "sum by (instance) (process_resident_memory_bytes)",
        "{{instance}}",
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
