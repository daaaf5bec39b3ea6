"""A table is written by one application, and says which."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.main import main
from jobs.common import tables
from jobs.common.lake import open_table, read
from jobs.common.ownership import PROPERTY, claim, owner_of
from jobs.common.settings import Lake, Settings, Stream
from tests.maintain.test_maintain import grown


def told(settings: Settings, name: str = "activity") -> str | None:
    table = open_table(settings, name)
    assert table is not None
    return table.metadata().configuration.get(PROPERTY)


def test_a_table_without_an_owner_is_claimed_once(tmp_path: Path) -> None:
    settings = grown(tmp_path, 2)
    claim(settings, ["activity", "quarantine"])
    assert told(settings) == "stream:_checkpoints"
    table = open_table(settings, "activity")
    assert table is not None
    claim(settings, ["activity"])
    again = open_table(settings, "activity")
    assert again is not None
    assert again.version() == table.version()


def test_a_second_writer_is_refused_and_may_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = grown(tmp_path, 2)
    claim(settings, ["activity"])
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)
    monkeypatch.setenv("RECO_STREAM__CHECKPOINT_ROOT", str(tmp_path / "others"))
    with pytest.raises(SystemExit, match="2"):
        main(["stream", "--available-now"])
    sentence = capsys.readouterr().err
    assert "silver/activity" in sentence
    assert "written by stream:_checkpoints, and this is stream:others: two writers lose rows" in sentence
    assert "--take-over" in sentence
    other = settings.model_copy(update={"stream": Stream(checkpoint_root=str(tmp_path / "others"))})
    claim(other, ["activity"], take_over=True)
    assert told(settings) == owner_of(other, "activity") == "stream:others"


def test_a_table_is_made_with_its_owner(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path), writer="emr"))
    tables.ensure_table(spark, settings, "closes")
    assert told(settings, "closes") == "close@emr"


def test_a_table_with_a_change_feed_stays_what_everybody_reads(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path)))
    path = tables.ensure_table(spark, settings, "nrt_exceptions")
    before = open_table(settings, "nrt_exceptions")
    other = settings.model_copy(update={"lake": Lake(root=str(tmp_path), writer="emr")})
    claim(other, ["nrt_exceptions"], take_over=True)
    table = open_table(settings, "nrt_exceptions")
    assert before is not None
    assert table is not None
    assert told(settings, "nrt_exceptions") == "stream:_checkpoints@emr"
    assert table.protocol() == before.protocol()
    assert table.schema() == before.schema()
    assert read(table, "nrt_exceptions").is_empty()
    assert spark.sql(f"DESCRIBE HISTORY delta.`{path}`").first()["operation"] == "SET TBLPROPERTIES"  # type: ignore[index]
    tables.read(spark, path).write.format("delta").mode("append").save(path)
