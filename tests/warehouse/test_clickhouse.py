"""What ClickHouse holds is what the lake holds, to the cent, wherever the export was stopped."""

import json
import os
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import clickhouse_connect
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from deltalake import DeltaTable, TableFeatures

from jobs.cli.main import build
from jobs.common.arrow import polars_schema
from jobs.common.command import INTERRUPTED, run
from jobs.common.errors import DONE, FAILED, USAGE, UserError
from jobs.common.settings import Settings
from jobs.warehouse import ddl
from jobs.warehouse.clickhouse import ClickHouse
from jobs.warehouse.export import Moved, export_table
from schemas.tables import TABLES
from tests.warehouse import lake
from tests.warehouse.lake import DAY, HOSTILE, NEXT, anomaly, fact, hour, life

ROOT = Path(__file__).parents[2]
MONEY = {"reconciliation_facts": "agoda_amount_usd"}


def export(settings: Settings, warehouse: ClickHouse, **more: bool) -> dict[str, Moved]:
    return {name: export_table(settings, warehouse, name, **more) for name in ddl.EXPORTED}


@cache
def client_of(url: str) -> Client:
    host, port = url.removeprefix("http://").split(":")
    return clickhouse_connect.get_client(host=host, port=int(port), autogenerate_session_id=False)


def rows(settings: Settings, statement: str) -> list[tuple[object, ...]]:
    asked = client_of(settings.warehouse.url).query(statement.replace("@", settings.warehouse.database))
    return [tuple(row) for row in asked.result_rows]


def in_lake(settings: Settings, name: str) -> pl.DataFrame:
    return pl.read_delta(settings.table_path(name)).select(list(polars_schema(TABLES[name].schema)))


def require_equal(settings: Settings) -> None:
    """Every row and value; counts and sums as ClickHouse itself adds them up."""
    for name, exported in ddl.EXPORTED.items():
        if not DeltaTable.is_deltatable(settings.table_path(name)):
            continue
        frame = in_lake(settings, name).sort(list(exported.key))
        columns = ", ".join(frame.columns)
        order = ", ".join(exported.key)
        found = rows(settings, f"SELECT {columns} FROM @.{name}_now ORDER BY {order}")
        lists = [column for column, kind in frame.schema.items() if isinstance(kind, pl.List)]
        wanted = frame.with_columns(pl.col(lists).fill_null([])).rows()
        assert [tuple(map(plain, row)) for row in found] == [tuple(map(plain, row)) for row in wanted], name
        money = MONEY.get(name, "amount_at_risk_usd")
        (count, total), *_ = rows(settings, f"SELECT count(), sum({money}) FROM @.{name} FINAL")
        assert (count, total or 0) == (len(frame), frame[money].sum()), name


def plain(value: object) -> object:
    """Lists all the way down; of times what the client gives, which is UTC without saying so."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, dict):
        value = list(value.values())
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def test_a_first_export_and_its_repetition(settings: Settings, warehouse: ClickHouse) -> None:
    lake.first_closes(settings)
    first = export(settings, warehouse)
    require_equal(settings)
    assert (first["reconciliation_facts"].written, first["reconciliation_facts"].loaded_whole) == (
        10,
        "for the first time",
    )
    again = export(settings, warehouse)
    assert {(moved.commits, moved.written, moved.deleted) for moved in again.values()} == {(0, 0, 0)}
    assert rows(settings, "SELECT count() FROM @.reconciliation_facts") == [(10,)]


def test_a_revision_that_removes_facts(settings: Settings, warehouse: ClickHouse) -> None:
    lake.first_closes(settings)
    export(settings, warehouse)
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-0"), fact("BK-3", "99.99"), fact("BK-NEW")])
    lake.replace_day(settings, "anomalies", [anomaly("BK-3", "1234567.000001")])
    lake.merge(settings, [life("BK-1", "0.010001", "RESOLVED"), life("BK-3", "1234567.000001")])
    lake.write(settings, "hourly_summary", [hour(10, 40)], f"verdict_date = '{DAY}' and verdict_hour = 10")
    moved = export(settings, warehouse)
    require_equal(settings)
    facts = moved["reconciliation_facts"]
    assert (facts.written, facts.deleted, facts.loaded_whole) == (2, 3, "")  # BK-0 is as it was
    assert (moved["exceptions"].written, moved["hourly_summary"].written) == (2, 1)
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-1"), fact("BK-0")])  # BK-1 comes back
    lake.replace_day(settings, "anomalies", [], NEXT)
    export(settings, warehouse)
    require_equal(settings)


def test_compaction_changes_nothing(settings: Settings, warehouse: ClickHouse) -> None:
    lake.first_closes(settings)
    lake.write(settings, "exceptions", [life("BK-7", "1")])
    export(settings, warehouse)
    DeltaTable(settings.table_path("exceptions")).optimize.compact()
    moved = export(settings, warehouse)["exceptions"]
    assert (moved.commits, moved.written, moved.deleted) == (1, 0, 0)
    require_equal(settings)


def test_killed_between_rows_and_position(settings: Settings, warehouse: ClickHouse, server_folder: Path) -> None:
    lake.first_closes(settings)
    export(settings, warehouse)
    rows(settings, "SYSTEM STOP MERGES @.reconciliation_facts")
    lake.replace_day(settings, "reconciliation_facts", [fact(f"BK-{n}", "0.01") for n in (1, 7, 8)])
    environment = {
        **os.environ,
        "RECO_LAKE__ROOT": settings.lake.root,
        "RECO_WAREHOUSE__URL": settings.warehouse.url,
        "RECO_WAREHOUSE__DATABASE": settings.warehouse.database,
        "RECO_WAREHOUSE__BATCH_ROWS": "2",
    }
    command = [sys.executable, "-m", "jobs.cli.main", "export", "clickhouse", "--only", "reconciliation_facts"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    (server_folder / "kill").write_text(str(process.pid))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == -9, output.decode()
    position = warehouse.position("reconciliation_facts")
    assert position is not None
    newest = DeltaTable(settings.table_path("reconciliation_facts")).version()
    assert position.delta_version == newest - 1
    physically = rows(settings, "SELECT count() FROM @.reconciliation_facts")
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-8", "0.02")])  # and the world went on
    moved = export_table(settings, warehouse, "reconciliation_facts")
    assert (moved.from_version, moved.to_version, moved.commits) == (newest - 1, newest + 1, 2)
    require_equal(settings)
    # The repeated batches were known by their tokens: only the second commit's one row and two deletions are new.
    assert rows(settings, "SELECT count() FROM @.reconciliation_facts") == [(int(str(physically[0][0])) + 3,)]


def test_stopped_in_the_middle_of_the_first_load(
    settings: Settings, warehouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.first_closes(settings)
    told = warehouse.insert

    def once(name: str, batch: pl.DataFrame, token: str) -> None:
        told(name, batch, token)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(warehouse, "insert", once)
        with pytest.raises(KeyboardInterrupt):
            export_table(settings, warehouse, "reconciliation_facts")
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-4")])  # what was written is gone meanwhile
    moved = export(settings, warehouse)["reconciliation_facts"]
    assert (moved.written, moved.deleted) == (6, 2)
    require_equal(settings)


def test_old_files_that_are_gone(settings: Settings, warehouse: ClickHouse) -> None:
    lake.first_closes(settings)
    export(settings, warehouse)
    table = DeltaTable(settings.table_path("reconciliation_facts"))
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-2", "5.55")])
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-2", "5.56")])
    table = DeltaTable(settings.table_path("reconciliation_facts"))
    assert table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    moved = export(settings, warehouse)["reconciliation_facts"]
    assert (moved.loaded_whole, moved.deleted) == ("old files are gone", 4)
    require_equal(settings)


def test_another_history_is_refused_and_loaded_anew_on_request(
    settings: Settings, warehouse: ClickHouse, tmp_path: Path
) -> None:
    lake.first_closes(settings)
    lake.replace_day(settings, "reconciliation_facts", [fact("BK-OLD")])
    export(settings, warehouse)
    other = settings.model_copy(update={"lake": replace_root(settings, tmp_path / "other")})
    lake.first_closes(other)
    with pytest.raises(UserError, match=r"is not the table that was exported before .* --reload") as refused:
        export(other, warehouse)
    assert refused.value.exit_code == FAILED
    moved = export(other, warehouse, reload=True)["reconciliation_facts"]
    assert (moved.written, moved.deleted) == (10, 1)  # though the versions of this table are smaller
    require_equal(other)


def replace_root(settings: Settings, root: Path) -> object:
    return settings.lake.model_copy(update={"root": str(root)})


def test_dates_that_clickhouse_does_not_know(settings: Settings, warehouse: ClickHouse) -> None:
    old = fact("BK-0", fx_date=DAY.replace(year=1), agoda_event_time=lake.AT.replace(year=9999))
    lake.replace_day(settings, "reconciliation_facts", [old])
    export(settings, warehouse)
    (found,) = rows(settings, "SELECT toString(fx_date), toYear(agoda_event_time) FROM @.reconciliation_facts_now")
    assert found == ("1900-01-01", 2299)


def test_what_is_told_when_something_is_wrong(settings: Settings, warehouse: ClickHouse, server_folder: Path) -> None:
    nowhere = replace_section(settings, database="not_made")
    lake.first_closes(settings)
    with pytest.raises(UserError, match=r"--init") as unmade:
        export_table(nowhere, ClickHouse(nowhere.warehouse), "anomalies")
    assert unmade.value.exit_code == USAGE
    (server_folder / "refuse").touch()
    try:
        with pytest.raises(UserError, match=r"disk full.*written by the next run") as full:
            export_table(settings, warehouse, "anomalies")
    finally:
        (server_folder / "refuse").unlink()
    assert full.value.exit_code == FAILED
    export(settings, warehouse)
    require_equal(settings)
    with pytest.raises(UserError, match=r"127.0.0.1:1, database \w+: it cannot be reached \(Connection refused\);"):
        ClickHouse(replace_section(settings, url="http://127.0.0.1:1").warehouse)


def replace_section(settings: Settings, **more: str) -> Settings:
    return settings.model_copy(update={"warehouse": settings.warehouse.model_copy(update=more)})


def test_the_ddl_file_is_what_the_schemas_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert (ROOT / "conf/warehouse/clickhouse.sql").read_text() == ddl.script()
    words = ["export", "clickhouse", "--print-ddl", "--json"]
    assert run(lambda: build("export"), words, "reco", "export") == DONE
    assert json.loads(capsys.readouterr().out) == {"ddl": ddl.statements()}


def test_tables_are_made_and_said_as_one_document(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_WAREHOUSE__URL", settings.warehouse.url)
    monkeypatch.setenv("RECO_WAREHOUSE__DATABASE", settings.warehouse.database)
    words = ["export", "clickhouse", "--init", "--json"]
    assert run(lambda: build("export"), words, "reco", "export") == DONE
    said = {"url": settings.warehouse.url, "database": settings.warehouse.database}
    assert json.loads(capsys.readouterr().out) == said


def test_hostile_text_and_nulls_arrive_as_they_are(settings: Settings, warehouse: ClickHouse) -> None:
    lake.first_closes(settings)
    export(settings, warehouse)
    found = rows(settings, f"SELECT activity_id, amount_at_risk_usd FROM @.anomalies_now WHERE reco_date = '{DAY}'")
    assert sorted(found, key=str) == sorted([("BK-1", Decimal("0.010001")), (HOSTILE, None)], key=str)


def test_following_takes_what_comes_until_it_is_stopped(
    settings: Settings,
    warehouse: ClickHouse,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lake.first_closes(settings)
    for name, value in {
        "LAKE__ROOT": settings.lake.root,
        "WAREHOUSE__URL": settings.warehouse.url,
        "WAREHOUSE__DATABASE": settings.warehouse.database,
        "WAREHOUSE__FOLLOW_SECONDS": "7",
    }.items():
        monkeypatch.setenv(f"RECO_{name}", value)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt
        lake.replace_day(settings, "reconciliation_facts", [fact("BK-LATER")])

    monkeypatch.setattr("jobs.warehouse.main.sleep", sleep)
    words = ["export", "clickhouse", "--follow", "--json"]
    assert run(lambda: build("export"), words, "reco", "export") == INTERRUPTED
    assert slept == [7, 7]
    assert [set(json.loads(line)) for line in capsys.readouterr().out.splitlines()] == [{"tables"}] * 2
    require_equal(settings)


def test_files_that_do_not_tell_which_rows_count(settings: Settings, warehouse: ClickHouse) -> None:
    lake.first_closes(settings)
    table = DeltaTable(settings.table_path("exceptions"))
    table.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(UserError, match=r"gold/exceptions may have deletion vectors"):
        export_table(settings, warehouse, "exceptions")
