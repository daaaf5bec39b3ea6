"""Alert rules, dashboard and manual name the metrics that there are; promtool proves when each alert fires."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.common.metric_table import METRICS, Kind

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "conf/prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
PROVEN = yaml.safe_load((ROOT / "tests/alerts/alerts_test.yaml").read_text())["tests"]
PANELS = json.loads((ROOT / "conf/grafana/reco.json").read_text())["panels"]
MANUAL = (ROOT / "docs/operations.md").read_text()
#: The series of each metric, with the labels that it has.
SERIES = {
    metric.name + suffix: {*metric.labels, *(["le"] if suffix == "_bucket" else [])}
    for metric in METRICS
    for suffix in (("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",))
}


def queries() -> list[str]:
    """Every query of the rules and of the dashboard."""
    return [rule["expr"] for rule in RULES] + [
        target["expr"] for panel in PANELS for target in panel.get("targets", [])
    ]


def test_queries_name_series_and_labels_that_exist() -> None:
    for query in queries():
        named = re.findall(r"(reco_\w+)(?:\{([^}]*)\})?", query)
        assert named, query
        for series, matchers in named:
            assert series in SERIES, query
            assert set(re.findall(r"(\w+)\s*[=!]", matchers)) <= SERIES[series], query
        grouped = {label for labels in re.findall(r"(?:by|on) \(([^)]*)\)", query) for label in labels.split(", ")}
        assert grouped <= set().union(*(SERIES[series] for series, _ in named)), query


def test_counters_are_only_asked_for_their_rise() -> None:
    rising = {metric.name for metric in METRICS if metric.kind is Kind.COUNTER}
    for rule in RULES:
        for series in rising & set(re.findall(r"reco_\w+", rule["expr"])):
            assert re.search(rf"(rate|increase)\({series}", rule["expr"]), rule["alert"]


def test_every_metric_is_shown_on_the_dashboard() -> None:
    shown = set(re.findall(r"reco_\w+", json.dumps(PANELS)))
    assert {metric.name for metric in METRICS if not any(name.startswith(metric.name) for name in shown)} == set()


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    taken = [cell for panel in PANELS for cell in _cells(panel["gridPos"])]
    assert len(taken) == len(set(taken))


def test_each_alert_says_what_to_do_and_is_proven_both_ways() -> None:
    cases = [case for group in PROVEN for case in group["alert_rule_test"]]
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "runbook"}
        mine = [case.get("exp_alerts") for case in cases if case["alertname"] == rule["alert"]]
        assert any(mine), f"{rule['alert']} never fires"
        assert not all(mine), f"{rule['alert']} is never silent"


def test_the_manual_lists_metrics_and_alerts_as_they_are() -> None:
    told = re.findall(r"^\| `(reco_\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", MANUAL, re.MULTILINE)
    labels = {m.name: ", ".join(f"`{label}`" for label in m.labels) or "–" for m in METRICS}
    assert told == [(m.name, m.kind.value, m.unit, labels[m.name], m.help) for m in METRICS]
    alerts = re.findall(r"^\| `(Reco\w+)` \| (\w+) \|", MANUAL, re.MULTILINE)
    assert alerts == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]


@pytest.mark.parametrize(
    "words", ["check rules conf/prometheus/alerts.yaml", "test rules tests/alerts/alerts_test.yaml"]
)
def test_promtool_agrees(words: str) -> None:
    command = [sys.executable, str(ROOT / "tools/promtool.py"), *words.split()]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    if told.returncode == 77:
        pytest.skip(told.stderr.strip())
    assert told.returncode == 0, told.stdout + told.stderr


def _cells(place: dict[str, Any]) -> list[tuple[int, int]]:
    columns, rows = (range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h")))
    return [(x, y) for x in columns for y in rows]
