"""What a session of ours does besides Spark's own."""

from pathlib import Path
from typing import Any

import pytest
from py4j.clientserver import ClientServerConnection
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from jobs.common import log
from jobs.common.engines import choice
from jobs.common.session import _renaming_conf, _warehouse_conf
from jobs.common.settings import Lake, Settings, Spark, Stream


def _column() -> Column:
    return F.when(F.col("a") > F.lit(1), F.concat(F.lit("x"), F.col("b"))).otherwise(F.coalesce("c", F.lit("y")))


def test_what_makes_columns_is_looked_up_once(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    _column()
    sent: list[str] = []
    send = ClientServerConnection.send_command

    def counted(self: ClientServerConnection, command: str, *args: object) -> object:
        sent.append(command.split("\n", 1)[0])
        return send(self, command, *args)

    monkeypatch.setattr(ClientServerConnection, "send_command", counted)
    found = spark.sql("SELECT 2 AS a, 'b' AS b, NULL AS c").select(_column().alias("made")).collect()
    assert found[0]["made"] == "xb"
    assert "c" in sent
    assert sent.count("r") <= 2, "PySpark itself asks for what an action needs"


def test_checkpoints_here_get_their_names_without_processes(spark: SparkSession, tmp_path: Path) -> None:
    jvm: Any = spark.sparkContext._jvm
    (name,) = _renaming_conf(Settings(lake=Lake(root=str(tmp_path)))).values()
    package = getattr(jvm, name.rpartition(".")[0])
    path = jvm.org.apache.hadoop.fs.Path(str(tmp_path))
    manager = package.CheckpointFileManager.create(path, spark._jsparkSession.sessionState().newHadoopConf())
    assert manager.getClass().getName() == name
    file = jvm.org.apache.hadoop.fs.Path(f"{tmp_path}/1")
    for is_there in (False, True):
        stream = manager.createAtomic(file, False)
        stream.write(bytearray(b"x"))
        if is_there:
            with pytest.raises(Exception, match=r"FILE_ALREADY_EXISTS|already exist"):
                stream.close()
        else:
            stream.close()
    assert (tmp_path / "1").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("lake", "checkpoints"), [("s3a://b/lake", ""), ("s3a://b/lake", "/tmp/c"), ("/tmp/lake", "hdfs://n/c")]
)
def test_elsewhere_spark_chooses(lake: str, checkpoints: str) -> None:
    assert _renaming_conf(Settings(lake=Lake(root=lake), stream=Stream(checkpoint_root=checkpoints))) == {}


@pytest.mark.parametrize("debug", [False, True])
def test_a_task_that_fails_is_told_by_the_commands_sentence_alone(
    spark: SparkSession, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    jvm: Any = spark.sparkContext._jvm
    names = ("org.apache.spark.executor.Executor", "org.apache.spark.scheduler.TaskSetManager")

    def told() -> list[bool]:
        return [jvm.org.apache.logging.log4j.LogManager.getLogger(name).isErrorEnabled() for name in names]

    monkeypatch.setattr(choice, "spark_session", lambda app, settings: spark)
    log.configure(debug=debug)
    try:
        with choice.session_for("tests", Settings(), choice.EngineName.SPARK):
            assert told() == [debug, debug]
    finally:
        log.configure()
    assert told() == [True, True]


def test_only_on_this_machine_the_warehouse_is_out_of_the_way() -> None:
    (folder,) = _warehouse_conf(Settings(spark=Spark(master="local[2]"))).values()
    assert Path(folder).is_absolute()
    assert not Path(folder).is_relative_to(Path.cwd())
    assert _warehouse_conf(Settings(spark=Spark(master="spark://h:7077"))) == {}
    assert _warehouse_conf(Settings(spark=Spark(master=""))) == {}
