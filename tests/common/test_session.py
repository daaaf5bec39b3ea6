"""What a session of ours does besides Spark's own."""

import pytest
from py4j.clientserver import ClientServerConnection
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F


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
