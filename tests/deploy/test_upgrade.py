"""What a release may not change without saying so: a stream that runs must be able to go on from its checkpoint."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.cli.broker import Broker
from jobs.common.settings import Lake, Settings
from jobs.streaming import match
from jobs.streaming.match import HELD, triggers
from jobs.streaming.normalise import raw_stream
from schemas.tables import TABLES
from tests.streaming.nrt import Stream, beats, event

RECORD = Path(__file__).with_name("checkpoint.json")
REMEDY = (
    "A stream that runs could not go on from its checkpoint with this release: keep it as it was; or, where it must "
    "change, say so in CHANGELOG.md (which checkpoint or table, and what to do, see docs/upgrade.md) and write the new "
    "record with RECO_RECORD=1 in the environment of this test."
)


def now(spark: SparkSession) -> dict[str, Any]:
    """What the code has: sources of each query in their order, what the join keeps by key, tables' columns."""
    settings = Settings(lake=Lake(root="/lake"))
    joined, raw = triggers(spark, settings), raw_stream(spark, settings)
    (join,) = [node for node in _nodes(joined) if node.nodeName() == "Join"]
    state = {side: json.loads(getattr(join, side)().schema().json())["fields"] for side in ("left", "right")}
    columns = {
        name: {field.name: field.dataType.simpleString() for field in table.schema} for name, table in TABLES.items()
    }
    return {
        "sources": {"normalise": _topics(raw), "match": _topics(joined)},
        "join": _without_numbers(str(join.simpleString(1000))),
        "watermarks": [
            _without_numbers(node.simpleString(1000)) for node in _nodes(joined) if "Watermark" in node.nodeName()
        ],
        "state": {side: [[field["name"], field["type"]] for field in fields] for side, fields in state.items()},
        "held": list(HELD.items()),
        "tables": columns,
    }


def test_a_stream_goes_on_from_the_checkpoint_of_the_release_before(spark: SparkSession) -> None:
    found = json.loads(json.dumps(now(spark)))
    if os.environ.get("RECO_RECORD"):
        RECORD.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    recorded = json.loads(RECORD.read_text())
    for part in ("sources", "join", "watermarks", "state"):
        assert found[part] == recorded[part], f"The {part} of the query changed. {REMEDY}"
    # A new field at the end of what the state holds as text is read as null from older rows.
    before = recorded["held"]
    assert found["held"][: len(before)] == before, (
        f"What a held message is has changed otherwise than at its end. {REMEDY}"
    )


def test_no_column_of_a_table_goes_or_changes_its_type(spark: SparkSession) -> None:
    recorded = json.loads(RECORD.read_text())["tables"]
    found = now(spark)["tables"]
    for name, columns in recorded.items():
        for column, kind in columns.items():
            assert found.get(name, {}).get(column) == kind, f"{name}.{column} was {kind}. {REMEDY}"


def _nodes(frame: DataFrame) -> Iterator[Any]:
    """Every node of the analysed plan, parents first, left before right."""
    waiting = [frame._jdf.queryExecution().analyzed()]
    while waiting:
        node = waiting.pop(0)
        yield node
        children = node.children()
        waiting = [children.apply(n) for n in range(children.size())] + waiting


def _topics(frame: DataFrame) -> list[str]:
    """The topics of each source, in the order in which the checkpoint counts the sources."""
    leaves = [node for node in _nodes(frame) if node.children().size() == 0]
    return [str(node.extraOptions().get("subscribe")) if "V2" in node.nodeName() else _v1(node) for node in leaves]


def _v1(node: Any) -> str:
    return str(node.dataSource().options().apply("subscribe"))


def _without_numbers(text: str) -> str:
    """A plan's text without the numbers of its columns and of its watermarks."""
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", re.sub(r"#\d+L?", "", text))


@pytest.mark.long
def test_a_stream_goes_to_a_release_that_holds_more_and_back(
    spark: SparkSession, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Stream(spark, broker, tmp_path, "upgrade")
    stream.take(event("agoda", "BK-UP", 0), event("agoda", "BK-ALONE", 0), *beats(0.5))
    stream.restart()
    with monkeypatch.context() as newer:
        newer.setattr(match, "HELD", {**HELD, "mode": "string"})
        stream.take(event("supplier", "BK-UP", 0.6), event("agoda", "BK-BACK", 0.6), *beats(0.7))
        assert stream.outcomes("BK-UP") == ["MATCHED"]
    stream.restart()
    stream.take(event("supplier", "BK-BACK", 0.8), *beats(5))
    assert stream.outcomes("BK-UP") == stream.outcomes("BK-BACK") == ["MATCHED"]
    assert stream.outcomes("BK-ALONE") == ["MISSING_SUPPLIER"]
