"""The dashboards and rules under deploy/: up to date, complete, and rules that fire when they should."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy_tools import run

#: Values that Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "1m", "$camera": ".*", "$instance": ".*"}


@pytest.fixture(scope="module")
def monitoring(load: Any) -> Any:
    return load("monitoring")


def queries(text: str) -> list[str]:
    """The queries of a dashboard, as Prometheus gets them."""
    targets = [target for panel in json.loads(text)["panels"] for target in panel.get("targets", ())]
    found = []
    for target in targets:
        query = target["expr"]
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        found.append(query)
    return found


@pytest.fixture(scope="module")
def boards(monitoring: Any) -> dict[str, str]:
    return {name: text for name, text in monitoring.files().items() if name.endswith(".json")}


def test_the_committed_files_are_up_to_date(monitoring: Any) -> None:
    written = monitoring.files()
    assert len(written) == 3
    for folder in monitoring.FOLDERS:
        assert {name: (folder / name).read_text(encoding="utf-8") for name in written} == written
        stray = [path for path in (folder / "dashboards").iterdir() if f"dashboards/{path.name}" not in written]
        assert not stray, "a dashboard that is no longer written"


def test_every_metric_of_a_worker_is_on_a_dashboard(monitoring: Any, boards: dict[str, str]) -> None:
    every = [query for text in boards.values() for query in queries(text)]
    metrics = monitoring.metrics()
    assert len(metrics) > 50
    assert {"mistwatch_group_workers", "mistwatch_sink_away", "process_resident_memory_bytes"} <= set(metrics)
    missing = [name for name in metrics if not any(re.search(rf"\b{name}(_total|_bucket)?\b", one) for one in every)]
    assert missing == []


def test_a_new_metric_gets_a_panel(monitoring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = monitoring.metrics()
    new = monitoring.Metric("mistwatch_new", "Something new", "counter")
    monkeypatch.setattr(monitoring, "metrics", lambda: {**before, "mistwatch_new": new})
    assert any("rate(mistwatch_new_total[" in text for text in monitoring.files().values())


def test_dashboards_and_rules_name_metrics_that_exist(monitoring: Any, boards: dict[str, str]) -> None:
    """A metric that is renamed would leave an empty panel, or a rule that never fires."""
    series = {
        sample
        for metric in monitoring.metrics().values()
        for sample in ({f"{metric.name}{suffix}" for suffix in monitoring._SUFFIXES[metric.type]} | {metric.name})
    }
    rules = yaml.safe_load(monitoring.files()["mistwatch.rules.yml"])
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    for expression in [*expressions, *(query for text in boards.values() for query in queries(text))]:
        unknown = {name for name in monitoring.names_in(expression) if not name.startswith("nv_")} - series
        assert not unknown, expression


def test_every_query_is_promql(monitoring: Any, boards: dict[str, str]) -> None:
    every = [query for text in boards.values() for query in queries(text)]
    assert len(every) > 60
    for query in every:
        promql_parser.parse(query)
    with pytest.raises(ValueError, match="parenthesis"):
        promql_parser.parse("sum by (camera (up)")


def test_panels_do_not_overlap(boards: dict[str, str]) -> None:
    for text in boards.values():
        panels = json.loads(text)["panels"]
        taken = [
            (column, row)
            for place in (panel["gridPos"] for panel in panels)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        ]
        assert len(taken) == len(set(taken))
        assert max(column for column, _ in taken) < 24
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_rule_says_what_to_do(monitoring: Any) -> None:
    rules = [rule for group in monitoring.document()["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 15
    for rule in rules:
        assert all(rule["annotations"][part].endswith(".") for part in ("summary", "action")), rule["alert"]
        promql_parser.parse(rule["expr"])


#: Series in steps of a minute, and the labels of the alerts at some minutes. `_` is a scrape without the series.
CASES: list[tuple[str, dict[str, str], dict[int, list[dict[str, str]]]]] = [
    (
        "CameraDark",
        {'mistwatch_camera_connected{camera="gate"}': "1 0x20", 'mistwatch_camera_connected{camera="yard"}': "1x20"},
        {2: [], 4: [{"camera": "gate"}]},
    ),
    (  # a camera that moved to another worker is not dark
        "CameraDark",
        {
            'mistwatch_camera_connected{camera="gate",instance="a"}': "1 0x20",
            'mistwatch_camera_connected{camera="gate",instance="b"}': "_ 1x20",
        },
        {10: []},
    ),
    (
        "ClipsDropped",
        {
            'mistwatch_clips_dropped_total{camera="gate",reason="overload"}': "0+30x30",
            'mistwatch_clips_dropped_total{camera="yard",reason="overload"}': "0+3x30",
            'mistwatch_clips_dropped_total{camera="hall",reason="unavailable"}': "0+60x30",
            'mistwatch_clips_scored_total{camera="gate"}': "0+30x30",
            'mistwatch_clips_scored_total{camera="yard"}': "0+30x30",
            'mistwatch_clips_gated_total{camera="yard"}': "0+30x30",
        },
        {15: [{"camera": "gate"}, {"camera": "hall"}]},
    ),
    ("OutboxFilling", {'mistwatch_outbox_events{sink="kafka"}': "0+500x30"}, {5: [], 25: [{"sink": "kafka"}]}),
    ("OutboxFilling", {'mistwatch_outbox_events{sink="kafka"}': "0 5000 0 5000 0 5000x3 0x30"}, {20: []}),
    (  # the first refusal is the birth of the series
        "OutboxRefuses",
        {'mistwatch_outbox_refused_total{sink="kafka",camera="gate"}': "_x5 1x40"},
        {4: [], 7: [{"sink": "kafka", "camera": "gate"}], 30: []},
    ),
    ("ScorerAway", {'mistwatch_scorer_away{instance="a"}': "0 1x9 0x9"}, {2: [], 5: [{"instance": "a"}], 12: []}),
    ("SinkAway", {'mistwatch_sink_away{sink="kafka"}': "1 0x5 1x9"}, {4: [], 10: [{"sink": "kafka"}]}),
    (
        "WorkerRestarts",
        {
            'process_start_time_seconds{job="w",instance="a"}': "1 1 2 2 3 3 4x30",
            'process_start_time_seconds{job="w",instance="b"}': "1 1 2x30",
            'process_start_time_seconds{job="else",instance="c"}': "1 2 3 4 5 6x30",
            'mistwatch_outbox_depth{job="w",instance="a"}': "0x40",
            'mistwatch_outbox_depth{job="w",instance="b"}': "0x40",
        },
        {10: [{"job": "w", "instance": "a"}]},
    ),
    ("NoWorker", {'up{job="mistwatch"}': "1x20"}, {3: [], 7: [{}]}),
    ("WorkerDown", {'up{job="mistwatch"}': "1 0x9"}, {1: [], 5: [{"job": "mistwatch"}]}),
]  # fmt: skip


def test_the_rules_fire_when_they_should_and_stay_silent_otherwise(monitoring: Any, tmp_path: Path) -> None:
    rules = {rule["alert"]: rule for group in monitoring.document()["groups"] for rule in group["rules"]}
    (tmp_path / "rules.yml").write_text(monitoring.files()["mistwatch.rules.yml"])
    tests = []
    for name, series, expected in CASES:
        alert = f"Mistwatch{name}"
        asked = [
            {
                "eval_time": f"{minute}m",
                "alertname": alert,
                "exp_alerts": [
                    {"exp_labels": {"severity": rules[alert]["labels"]["severity"], **one}} for one in alerts
                ],
            }
            for minute, alerts in expected.items()
        ]
        inputs = [{"series": key, "values": values} for key, values in series.items()]
        tests.append({"interval": "1m", "input_series": inputs, "alert_rule_test": asked})
    # The texts of an alert hold its labels and value; what they say is not the subject here.
    bare = yaml.safe_load((tmp_path / "rules.yml").read_text())
    for group in bare["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]
    (tmp_path / "bare.yml").write_text(yaml.safe_dump(bare))
    (tmp_path / "cases.yml").write_text(yaml.safe_dump({"rule_files": ["bare.yml"], "tests": tests}))
    assert "SUCCESS" in run("promtool", "check", "rules", tmp_path / "rules.yml")
    run("promtool", "test", "rules", tmp_path / "cases.yml")
