"""A close as files: what is in it is what the lake has, and any touch is told."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from jobs.cli.main import build
from jobs.common.command import run
from jobs.common.settings import Settings
from tests.cli.lake_rows import put
from tests.warehouse import lake
from tests.warehouse.lake import DAY, HOSTILE, anomaly, fact

KEY = "0123456789abcdef-secret"


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two closes of one day; the first one's rows are only in the tables' history."""
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path / "lake"))
    monkeypatch.setenv("SIGNING", KEY)
    monkeypatch.setenv("RECO_WAREHOUSE__SIGNING_KEY", "env:SIGNING")
    settings = Settings()
    for revision, keys in ((1, ["BK-1", HOSTILE, "'quoted"]), (2, ["BK-1", "BK-2"])):
        close_id = f"{DAY}-r{revision}"
        replaced(
            settings, "reconciliation_facts", [fact(key, "-0.000001", close_id=close_id) for key in keys], close_id
        )
        found = [{**anomaly(key, "1.000001"), "close_id": close_id} for key in keys]
        replaced(settings, "anomalies", found, close_id)
        put(settings, "closes", [close_row(revision, len(keys))])
    return settings


def replaced(settings: Settings, name: str, rows: list[dict[str, Any]], close_id: str) -> None:
    lake.write(settings, name, [])
    write_deltalake(
        settings.table_path(name),
        lake.frame(name, rows),
        mode="overwrite",
        predicate=f"reco_date = '{DAY}'",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": close_id}),
    )


def close_row(revision: int, count: int) -> dict[str, Any]:
    total = {"supplier_id": "SUP-1", "side": "AGODA", "keys_in": count, "amount_in_usd": Decimal("0.1")}
    return {
        "close_id": f"{DAY}-r{revision}",
        "reco_date": DAY,
        "revision": revision,
        "provisional": False,
        "started_at": datetime(2026, 3, 10, tzinfo=UTC),
        "facts": count,
        "anomalies": count,
        "amount_at_risk_usd": Decimal("1.000001") * count,
        "control_totals": [total],
        "content_hash": "ab" * 32,
    }


def reco(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(lambda: build("export"), ["export", *map(str, words)], "reco", "export")
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_close_in_parquet_is_what_the_lake_has(
    closed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "close"
    code, out, _ = reco(capsys, "close", DAY, "--to", target, "--json")
    assert code == 0
    manifest = json.loads(out)
    assert manifest == json.loads((target / "manifest.json").read_text())
    assert manifest["closeId"] == f"{DAY}-r2"
    assert manifest["close"]["amountAtRiskUsd"] == "2.000002"
    assert manifest["close"]["startedAt"] == "2026-03-10T00:00:00Z"
    assert manifest["controlTotals"][0]["keysIn"] == 2
    for name, file in (("reconciliation_facts", "facts"), ("anomalies", "anomalies")):
        wanted = pl.read_delta(closed.table_path(name)).sort("activity_id")
        assert pl.read_parquet(target / f"{file}.parquet").equals(
            wanted.select(pl.read_parquet(target / f"{file}.parquet").columns)
        )
    assert reco(capsys, "verify", target)[0] == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["close"]


def test_an_earlier_revision_in_csv_that_no_spreadsheet_runs(
    closed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "close"
    target.mkdir()
    assert reco(capsys, "close", f"{DAY}-r1", "--to", target, "--format", "csv")[0] == 0
    with (target / "facts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["activity_id"] for row in rows} == {"BK-1", f"'{HOSTILE}", "''quoted"}
    assert rows[0]["agoda_amount_usd"] == "-0.000001"
    assert rows[0]["agoda_event_time"] == "2026-03-09T10:00:00.123000Z"
    assert json.loads(rows[0]["supplier_duplicates"])[0]["amount_minor"] == 5
    assert json.loads((target / "manifest.json").read_text())["textGuard"] == "'"
    assert reco(capsys, "verify", target, "--key", "env:SIGNING", "--json")[0] == 0


@pytest.mark.parametrize(
    ("touch", "said"),
    [
        (lambda folder: (folder / "facts.parquet").write_bytes(b"x"), "facts.parquet: not the file"),
        (lambda folder: (folder / "anomalies.parquet").unlink(), "anomalies.parquet: missing"),
        (lambda folder: (folder / "more.parquet").touch(), "more.parquet: was not exported"),
        (lambda folder: (folder / "manifest.json.sig").unlink(), "manifest.json.sig: missing"),
        (lambda folder: (folder / "manifest.json.sig").write_text("hmac-sha256:00"), "not the signature"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not a manifest"),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace("2.000002", "1.000002")
            ),
            "not the signature",
        ),
    ],
)
def test_a_touched_close(
    closed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], touch: Any, said: str
) -> None:
    target = tmp_path / "close"
    assert reco(capsys, "close", DAY, "--to", target)[0] == 0
    touch(target)
    code, out, _ = reco(capsys, "verify", target)
    assert code == 1
    assert said in out


def test_another_key_does_not_do(closed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "close"
    reco(capsys, "close", DAY, "--to", target)
    (tmp_path / "key").write_text("another key of length")
    code, out, _ = reco(capsys, "verify", target, "--key", f"file:{tmp_path / 'key'}")
    assert (code, "not the signature" in out) == (1, True)
    code, out, _ = reco(capsys, "verify", target, "--unsigned")
    assert (code, "who wrote it was not looked at" in out) == (0, True)


def test_what_is_refused(
    closed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    refused = [
        (("close", "2026-03-08", "--to", tmp_path / "a"), 2, f"the last ones are {DAY}-r2, {DAY}-r1"),
        (("close", "2026-13-08", "--to", tmp_path / "a"), 2, "is no date"),
        (("close", DAY, "--to", tmp_path / "full"), 2, "not empty"),
        (("verify", tmp_path / "nowhere"), 2, "no exported close"),
        (("verify", tmp_path / "full", "--key", "env:NOPE"), 2, "--key refers to env:NOPE, which is not set"),
        (("verify", tmp_path / "full", "--key", "hunter2"), 2, "--key: a secret is not written down"),
    ]
    for words, code, said in refused:
        told = reco(capsys, *words)
        assert (told[0], said in told[2]) == (code, True), told
    monkeypatch.delenv("RECO_WAREHOUSE__SIGNING_KEY")
    told = reco(capsys, "close", DAY, "--to", tmp_path / "a")
    assert (told[0], "--unsigned" in told[2]) == (2, True)
    assert reco(capsys, "close", DAY, "--to", tmp_path / "a", "--unsigned")[0] == 0
    assert not (tmp_path / "a" / "manifest.json.sig").exists()


def test_a_close_whose_rows_were_changed_by_hand(
    closed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DeltaTable(closed.table_path("anomalies")).update(
        predicate="activity_id = 'BK-1'", updates={"amount_at_risk_usd": "5"}
    )
    code, _, err = reco(capsys, "close", DAY, "--to", tmp_path / "a")
    assert (code, "changed by hand" in err, (tmp_path / "a").exists()) == (1, True, False)
