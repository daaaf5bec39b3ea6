"""What catalogs are told of the tables; Glue for real, as moto's server plays it."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.cli.main import build
from jobs.common.command import run
from jobs.common.settings import Lake, Settings
from jobs.warehouse import catalogs
from schemas.tables import TABLES
from tests.cli.lake_rows import put
from tests.warehouse import lake
from tests.warehouse.lake import DAY
from tests.warehouse.test_bundle import close_row

ROOT = Path(__file__).parents[2]
Reco = Callable[..., tuple[int, str, str]]


@pytest.fixture
def reco(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Reco:
    monkeypatch.setenv("RECO_LAKE__ROOT", "s3a://bucket/lake")

    def command(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(lambda: build("register"), ["register", *map(str, words)], "reco", "register")
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def moto_server() -> Path | None:
    """The server's command where `tools/moto.py` has fetched it."""
    asked = [sys.executable, "-B", str(ROOT / "tools" / "moto.py")]
    if not Path(asked[-1]).exists():
        return None
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


@pytest.fixture(scope="session")
def glue_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = moto_server()
    if server is None:
        pytest.skip("moto's server cannot be had here")
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([server, "-H", "127.0.0.1", "-p", "0"], stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 90
        while "Running on http://127.0.0.1:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield log.read_text().partition("Running on ")[2].split()[0]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def glue(glue_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of an empty account; the AWS_… variables lead there."""
    server = moto_server()
    assert server is not None
    sites = [str(path) for path in (server.parents[1] / "lib").glob("python*/site-packages")]
    monkeypatch.setattr(sys, "path", [*sys.path, *sites])  # only for what is not installed here
    boto3 = pytest.importorskip("boto3")
    urllib.request.urlopen(urllib.request.Request(f"{glue_url}/moto-api/reset", method="POST")).close()
    for name, value in {
        "AWS_ENDPOINT_URL": glue_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }.items():
        monkeypatch.setenv(name, value)
    return boto3.client("glue")


def test_glue_has_every_table_with_comments(reco: Reco, glue: Any) -> None:
    code, out, err = reco("glue", "--all", "--json")
    assert code == 0, err
    assert set(json.loads(out)["tables"].values()) == {"created"}
    for name, table in TABLES.items():
        found = glue.get_table(DatabaseName="reco", Name=name)["Table"]
        assert found["Description"] == table.comment
        columns = found["StorageDescriptor"]["Columns"]
        wanted = [(field.name, field.metadata["comment"]) for field in table.schema.fields]
        assert [(column["Name"], column["Comment"]) for column in columns] == wanted
        assert found["StorageDescriptor"]["Location"] == f"s3://bucket/lake/{table.path}"
        assert found["Parameters"]["table_type"] == "DELTA"
    kinds = {column["Name"]: column["Type"] for column in columns_of(glue, "reconciliation_facts")}
    assert (kinds["price_diff_usd"], kinds["anomaly_types"]) == ("decimal(28,6)", "array<string>")


def columns_of(glue: Any, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = glue.get_table(DatabaseName="reco", Name=name)["Table"]["StorageDescriptor"][
        "Columns"
    ]
    return found


def test_again_only_what_differs_is_updated(reco: Reco, glue: Any) -> None:
    reco("glue", "--only", "anomalies", "--only", "closes")
    old = catalogs.glue_table(Settings(lake=Lake(root="s3a://bucket/lake")), "anomalies")
    old["StorageDescriptor"]["Columns"].pop()
    old["Parameters"]["crawler"] = "theirs"
    glue.update_table(DatabaseName="reco", TableInput=old)
    code, out, _ = reco("glue", "--only", "anomalies", "--only", "closes", "--json")
    assert (code, json.loads(out)["tables"]) == (0, {"anomalies": "updated", "closes": "same"})
    assert len(columns_of(glue, "anomalies")) == len(TABLES["anomalies"].schema.fields)
    assert glue.get_table(DatabaseName="reco", Name="anomalies")["Table"]["Parameters"]["crawler"] == "theirs"


def test_another_lakes_table_is_left_alone(reco: Reco, glue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reco("glue", "--only", "anomalies")
    monkeypatch.setenv("RECO_LAKE__ROOT", "s3a://bucket/other")
    code, _, err = reco("glue", "--only", "anomalies")
    assert (code, "it is another lake's" in err) == (1, True)


def test_glue_that_cannot_be_asked(reco: Reco, glue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    code, _, err = reco("glue", "--only", "anomalies")
    assert (code, "Glue cannot be asked" in err, err.count("\n")) == (1, True, 1)


def test_what_is_refused(reco: Reco, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "there is no such table" in reco("glue", "--only", "nothing", "--print")[2]
    assert "is no name" in reco("unity", "--schema", "a`b", "--all")[2]
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path))
    assert "no catalog reaches" in reco("glue", "--all", "--print")[2]
    assert reco("hive")[0] == 2


def test_the_plan_needs_no_aws(reco: Reco) -> None:
    code, out, _ = reco("glue", "--all", "--print")
    assert (code, len(json.loads(out)["tables"])) == (0, len(TABLES))


def test_unity_is_told_where_the_tables_are(reco: Reco) -> None:
    code, out, _ = reco("unity", "--catalog", "finance", "--only", "anomalies")
    assert code == 0
    assert out.splitlines() == [
        "CREATE SCHEMA IF NOT EXISTS `finance`.`reco`;",
        "CREATE TABLE IF NOT EXISTS `finance`.`reco`.`anomalies` USING DELTA LOCATION 's3://bucket/lake/gold/anomalies';",
    ]


@pytest.mark.parametrize("words", [("unity", "--catalog", "finance"), ("hive",)])
def test_the_statements_as_one_document(reco: Reco, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    words = (*words, "--only", "anomalies")
    plain = reco(*words)[1]
    code, out, err = reco(*words, "--json")
    assert code == 0, err
    assert "".join(f"{statement};\n" for statement in json.loads(out)["statements"]) == plain
    said: list[str] = []
    fake = type("Fake", (), {"sql": said.append})
    monkeypatch.setattr("jobs.common.session.spark_session", lambda *_: fake)
    assert json.loads(reco(*words, "--run", "--json")[1]) == {"statements": said, "tables": 1}


def test_hive_statements_make_tables_that_spark_reads_with_comments(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path)))
    lake.first_closes(settings)
    version = DeltaTable(settings.table_path("anomalies")).version()
    for statement in catalogs.sql(settings, ["anomalies"], "registered"):
        spark.sql(statement)
    try:
        assert spark.table("registered.anomalies").count() == 4
        comments = {field.name: field.metadata["comment"] for field in spark.table("registered.anomalies").schema}
        assert comments == {field.name: field.metadata["comment"] for field in TABLES["anomalies"].schema.fields}
        assert DeltaTable(settings.table_path("anomalies")).version() == version
    finally:
        spark.sql("DROP SCHEMA registered CASCADE")


def test_the_views_answer_in_trinos_words(tmp_path: Path) -> None:
    """Read as Trino's SQL by sqlglot, run by DuckDB in its own words; only a list of rows it takes apart otherwise."""
    settings = Settings(lake=Lake(root=str(tmp_path)))
    lake.first_closes(settings)
    put(settings, "closes", [close_row(1, 5), close_row(2, 5)])
    connection = duckdb.connect()
    for name in ("reconciliation_facts", "anomalies", "exceptions", "closes"):
        files = DeltaTable(settings.table_path(name)).file_uris()
        listed = ", ".join(f"'{file}'" for file in files)
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = true)")
    text = (ROOT / "conf/warehouse/views.sql").read_text()
    views = [found for found in sqlglot.parse(text, read="trino") if found is not None]
    for view in views:
        told = view.sql(dialect="duckdb")
        connection.execute(re.sub(r"CROSS JOIN UNNEST\(([\w.]+)\) AS t\(.*\)", r", unnest(\1) AS u(t)", told))
    assert len(views) == text.count("CREATE OR REPLACE VIEW")
    sums = "sum(breaks), sum(amount_at_risk_usd)::varchar, sum(unpriced)"
    risk = f"SELECT {sums} FROM risk_by_day WHERE reco_date = '{DAY}'"
    assert connection.execute(risk).fetchone() == (2, "0.010001", 1)
    assert connection.execute("SELECT sum(facts), sum(matched), sum(missing) FROM outcome_by_day").fetchone() == (
        10,
        10,
        0,
    )
    assert connection.execute("SELECT sum(exceptions), min(oldest) FROM open_exceptions").fetchone() == (2, DAY)
    assert connection.execute("SELECT close_id FROM newest_close").fetchall() == [(f"{DAY}-r2",)]
    totals = connection.execute("SELECT close_id, supplier_id, keys_in FROM control_totals ORDER BY 1").fetchall()
    assert totals == [(f"{DAY}-r1", "SUP-1", 5), (f"{DAY}-r2", "SUP-1", 5)]
