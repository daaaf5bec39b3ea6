"""Every local JVM maps the classes that `make setup` archived, and does without where they are another JVM's."""

import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.common import session
from jobs.common.jars import class_archive


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_session_maps_the_archived_classes(spark: SparkSession) -> None:
    if not class_archive().is_relative_to(Path(__file__).parents[2]):
        pytest.skip("only the environment of `make setup` has an archive")
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    maps = Path(f"/proc/{gateway.proc.pid}/maps").read_text()
    assert str(class_archive()) in maps


def test_without_an_archive_java_gets_no_option_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(session, "class_archive", lambda: tmp_path / "none.jsa")
    assert session._archived_classes() == []
    (tmp_path / "none.jsa").touch()
    assert session._archived_classes()[0] == f'"-XX:SharedArchiveFile={tmp_path}/none.jsa"'
