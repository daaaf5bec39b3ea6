"""The format of the join's state is that of the release that made the checkpoint."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.broker import Broker
from jobs.streaming import main
from tests.streaming.nrt import Stream, beats, event

FORMAT = "spark.sql.streaming.join.stateFormatVersion"


@pytest.mark.long
def test_a_checkpoint_of_four_stores_goes_on_as_one(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(spark, broker, tmp_path, "format", state_store="rocksdb")
    with monkeypatch.context() as before:
        before.setitem(main.STATE_STORE["rocksdb"], FORMAT, "2")
        stream.take(event("agoda", "a", 0), *beats(0.5))
        four = _stores(stream)
    assert len(four) == 4
    assert main.STATE_STORE["rocksdb"][FORMAT] == "3"
    stream.take(event("supplier", "a", 0.8), *beats(0.9))
    assert stream.outcomes("a") == ["MATCHED"], "what it held of the first side was read"
    assert _stores(stream) == four, "it is as it was born"


def _stores(stream: Stream) -> set[str]:
    partition = Path(stream.settings.stream.checkpoint_root, "match", "state", "0", "0")
    return {path.name for path in partition.iterdir() if path.is_dir() and not path.name.startswith("_")}
