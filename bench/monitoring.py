"""Write the Grafana dashboards and the Prometheus rules under deploy/ from the metrics of the worker.

    python bench/monitoring.py

The metrics come from the registry of a worker that is in a group. A metric that :mod:`monitoring_panels` does not name
gets a panel of its own. Each file is written twice: for the compose site, and into the chart, which may read its own
folder only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from monitoring_panels import RATE, SITE, WORKERS, Panel
from monitoring_rules import document
from prometheus_client.metrics_core import Metric

from pipeline.live.metrics import Metrics
from pipeline.live.site_group import GroupMetrics

ROOT = Path(__file__).resolve().parent.parent
#: The folders of the compose site, and of the chart.
FOLDERS = (ROOT / "deploy" / "monitoring", ROOT / "deploy" / "helm" / "mistwatch" / "files" / "monitoring")
_HEIGHT, _COLUMNS = 8, 24
_NOTICE = "# Written by bench/monitoring.py from bench/monitoring_rules.py.\n"
#: The chosen Prometheus; the compose site has one.
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SUFFIXES = {"counter": ("_total", "_created"), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def metrics() -> dict[str, Metric]:
    """Return every metric of a worker by its name, without the suffix of its type."""
    registered = Metrics(detectors=True)
    GroupMetrics(registered, capacity=1)
    return {metric.name: metric for metric in registered.registry.collect()}


def names_in(expression: str) -> set[str]:
    """Return the names in a PromQL expression that are metrics of ours or of a process."""
    return set(re.findall(r"\b(?:mistwatch|process|nv)_\w+", expression))


def shown(panels: Iterator[Panel] | list[Panel]) -> set[str]:
    """Return the names of the metrics on some panels."""
    return {name for panel in panels for expression, _ in panel.queries for name in names_in(expression)}


def panels_of(rows: tuple[tuple[str, tuple[Panel, ...]], ...]) -> Iterator[Panel]:
    """Yield the panels of all rows."""
    for _, panels in rows:
        yield from panels


def is_shown(metric: Metric, names: set[str]) -> bool:
    """Return whether one of the series of a metric is among ``names``."""
    return any(f"{metric.name}{suffix}" in names for suffix in ("", *_SUFFIXES.get(metric.type, ())))


def further_panels() -> tuple[Panel, ...]:
    """Return a panel for each metric that no panel names."""
    names = shown([*panels_of(SITE), *panels_of(WORKERS)])
    return tuple(_plain(metric) for name, metric in sorted(metrics().items()) if not is_shown(metric, names))


def _plain(metric: Metric) -> Panel:
    if metric.type == "histogram":
        expression = f"histogram_quantile(0.95, sum by (le) (rate({metric.name}_bucket{RATE})))"
    elif metric.type == "counter":
        expression = f"rate({metric.name}_total{RATE})"
    else:
        expression = metric.name
    return Panel(metric.name, metric.documentation.rstrip(".") + ".", ((expression, ""),))


def dashboard(title: str, rows: tuple[tuple[str, tuple[Panel, ...]], ...], variables: list[Any]) -> dict[str, Any]:
    """Return a dashboard as Grafana imports it."""
    laid: list[dict[str, Any]] = []
    top = 0
    for name, panels in rows:
        laid.append({"type": "row", "title": name, "collapsed": False, "panels": [], "id": len(laid) + 1,
                     "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1}})  # fmt: skip
        top, left = top + 1, 0
        for panel in panels:
            if left + panel.width > _COLUMNS:
                top, left = top + _HEIGHT, 0
            laid.append({**_panel(panel), "id": len(laid) + 1,
                         "gridPos": {"x": left, "y": top, "w": panel.width, "h": _HEIGHT}})  # fmt: skip
            left += panel.width
        top += _HEIGHT
    return {
        "uid": re.sub(r"\W+", "-", title.lower()),
        "title": title,
        "tags": ["mistwatch"],
        "timezone": "browser",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource_variable(), *variables]},
        "panels": laid,
    }


def _panel(panel: Panel) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 20 if panel.stacked else 0, "lineWidth": 1}
        if panel.stacked:
            custom["stacking"] = {"mode": "normal", "group": "A"}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": _options(panel),
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _DATASOURCE, "expr": expression, "range": True,
             "legendFormat": legend or "__auto"}
            for number, (expression, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "area"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}


def _datasource_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}


def _label_variable(label: str, metric: str, words: str) -> dict[str, Any]:
    query = f"label_values({metric}, {label})"
    return {"name": label, "label": words, "type": "query", "datasource": _DATASOURCE, "refresh": 2, "sort": 1,
            "query": {"query": query, "refId": label}, "definition": query, "multi": True, "includeAll": True,
            "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}  # fmt: skip


def files() -> dict[str, str]:
    """Return the text of each file by its path in a folder."""
    rest = (("Further metrics", further),) if (further := further_panels()) else ()
    site = dashboard("Mistwatch site", SITE, [_label_variable("camera", "mistwatch_camera_connected", "Camera")])
    workers = dashboard(
        "Mistwatch workers", (*WORKERS, *rest), [_label_variable("instance", "mistwatch_outbox_depth", "Worker")]
    )
    texts = {
        f"dashboards/{board['uid']}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        for board in (site, workers)
    }
    texts["mistwatch.rules.yml"] = _NOTICE + yaml.safe_dump(document(), sort_keys=False, width=1000, allow_unicode=True)
    return texts


def main() -> None:
    """Write every file."""
    for folder in FOLDERS:
        for name, text in files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
