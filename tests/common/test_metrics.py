"""The table of metrics, what Prometheus is told of them, and the endpoint."""

import re
import socket
import urllib.request
from pathlib import Path
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from jobs.cli.main import main
from jobs.common.errors import UserError
from jobs.common.metric_table import METRICS, Kind, Metric
from jobs.common.metrics import Registry, endpoint
from jobs.common.settings import Metrics, Settings
from jobs.streaming.main import run
from tests.scrape import free_port, scrape


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"reco_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_seconds") == metric.unit.startswith("seconds")
    assert metric.name.endswith("_bytes") == (metric.unit == "bytes")
    assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert "supplier" not in metric.labels
    assert "|" not in metric.help + metric.unit


def test_names_are_told_apart() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_what_prometheus_is_told(registry: Registry) -> None:
    registry.add("reco_verdicts_total", outcome="MATCHED")
    registry.add("reco_verdicts_total", 2, outcome="MATCHED")
    registry.add("reco_rows_dropped_by_watermark_total")
    registry.put("reco_state_rows", 7)
    registry.put("reco_state_rows", 5)
    shown = CollectorRegistry()
    shown.register(registry)
    assert [line for line in generate_latest(shown).decode().splitlines() if "{" in line or " TYPE " in line] == [
        "# TYPE reco_state_rows gauge",
        "# TYPE reco_rows_dropped_by_watermark_total counter",
        "# TYPE reco_verdicts_total counter",
        'reco_verdicts_total{outcome="MATCHED"} 2.0',
    ]
    assert registry.value("reco_state_rows") == 5
    assert registry.value("reco_watermark_lag_seconds") is None


@pytest.mark.parametrize(
    ("value", "bound"), [(0, "0.25"), (0.25, "0.25"), (0.26, "0.5"), (600, "600.0"), (601, "+Inf")]
)
def test_a_value_falls_into_the_first_bucket_that_holds_it(registry: Registry, value: float, bound: str) -> None:
    registry.observe("reco_query_batch_duration_seconds", value, query="match")
    buckets = [sample for family in registry.collect() for sample in family.samples if sample.name.endswith("_bucket")]
    assert next(sample.labels["le"] for sample in buckets if sample.value == 1) == bound
    assert buckets[-1].labels["le"] == "+Inf"


def test_counts_by_bucket_add_up(registry: Registry) -> None:
    name = "reco_reconciliation_lag_seconds"
    registry.observe_many(name, {0: 3, 19: 1}, 500_000.5, outcome="MATCHED")
    registry.observe_many(name, {1: 2}, 4, outcome="MATCHED")
    found = {
        (sample.name.removeprefix(name), sample.labels.get("le")): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    assert [found["_bucket", le] for le in ("1.0", "2.5", "172800.0", "+Inf")] == [3, 5, 5, 6]
    assert (found["_count", None], found["_sum", None]) == (6, 500_004.5)


@pytest.mark.parametrize(("name", "labels"), [("reco_state_rows", {}), ("reco_verdicts_total", {"query": "match"})])
def test_a_metric_is_not_mistaken_for_another(registry: Registry, name: str, labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=name):
        registry.add(name, 1, **labels)


def test_the_endpoint_answers_while_it_is_wanted(registry: Registry) -> None:
    port = free_port()
    registry.put("reco_state_rows", 5)
    with endpoint(Metrics(port=port), registry):
        assert scrape(port) == {"reco_state_rows": 5}
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
    with endpoint(Metrics(port=port), registry), endpoint(Metrics(), registry):
        assert scrape(port) == {"reco_state_rows": 5}


def test_a_port_that_is_taken_ends_the_job_before_it_begins() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"Port {port} of 127\.0\.0\.1 cannot be had.*metrics\.port") as caught:
            run(Settings(metrics=Metrics(port=port)))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["console", "poll", "alerts"])
def test_a_port_that_is_taken_is_named_by_its_own_key(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobs.alerts.main.ensure_topic", lambda _: None)
    monkeypatch.setattr("jobs.alerts.main.read_routes", lambda _: Mock(sinks={}))
    monkeypatch.setattr("jobs.console.main.create_app", lambda _: Mock())
    monkeypatch.setattr("jobs.ingest.polling.main.read_suppliers", lambda _: [])
    monkeypatch.setattr("jobs.ingest.polling.main.choose", lambda *_: [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECO_CONSOLE__PORT", str(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv(f"RECO_{name.upper()}__METRICS_PORT", str(port))
        with pytest.raises(SystemExit) as end:
            main([name])
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert said.err.startswith(f"Port {port} of 127.0.0.1 cannot be had for the metrics (Address already in use): set ")
    assert f"set {name}.metrics_port to a free one" in said.err


def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(UserError, match=r"of nowhere\.invalid cannot be had.*metrics\.host"):
        endpoint(Metrics(port=free_port(), host="nowhere.invalid")).__enter__()
