"""Several match applications over disjoint suppliers give what one over all of them gives."""

import shutil
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.cli.broker import Broker
from jobs.cli.main import main
from jobs.cli.stream_state import queries
from jobs.common.errors import UserError
from jobs.common.groups import group_of, of_group, parts_of
from jobs.common.kafka import create_topics
from jobs.common.lake import open_table, read
from jobs.common.local_rows import local_rows
from jobs.common.ownership import claim
from jobs.common.progress_file import missing, progress_file, read_watermark
from jobs.common.settings import GROUPED, Lake, Settings
from jobs.common.settings import Stream as StreamSettings
from jobs.common.tables import ensure_table
from jobs.streaming.gather import Gatherer
from jobs.streaming.group_tables import make, may_change
from jobs.streaming.groups import only_mine, ready, this_process
from jobs.streaming.main import gather_checkpoint, start_gather, start_match
from jobs.streaming.progress import Watch
from jobs.streaming.queries import Only, queries_of
from tests.oracle.summary import summary, told
from tests.streaming.feed import consume
from tests.streaming.nrt import T0, Stream, beats, both, event

#: What says when and by whom a verdict was given, and not what it is.
_BY = {"verdict_at", "verdict_date", "verdict_hour", "watermark", "query_id", "batch_id"}
_TIMES = ("first_seen_at", "opened_at", "resolved_at")
GROUPS = {"match_groups": 2, "match_suppliers": {"TIGHT": 1}}


def verdicts_of(settings: Settings) -> list[dict[str, Any]]:
    """Every verdict in gold, without when and by whom it was given."""
    rows = read(open_table(settings, "nrt_results"), "nrt_results").to_dicts()
    return sorted(({k: v for k, v in row.items() if k not in _BY} for row in rows), key=lambda row: row["result_id"])


def exceptions_of(settings: Settings) -> list[dict[str, Any]]:
    """Every exception in gold; of its times only which it has."""
    rows = read(open_table(settings, "nrt_exceptions"), "nrt_exceptions").to_dicts()
    for row in rows:
        row |= {name: row[name] is not None for name in _TIMES}
        if row["anomaly_type"] == "FEED_SILENT":
            del row["result_id"]
    return sorted(rows, key=lambda row: str(row["exception_id"]))


def grouped(settings: Settings, root: Path, **stream: Any) -> Settings:
    """The same topics, silver and policies, matched in groups into a lake of its own."""
    root.mkdir()
    for name in ("silver", "ref"):
        (root / name).symlink_to(Path(settings.lake.root, name))
    chosen = settings.stream.model_dump() | {"checkpoint_root": f"{root}/_checkpoints", "summary_minutes": 5} | stream
    update = {"lake": Lake(root=str(root)), "stream": StreamSettings(**chosen)}
    update["topics"] = settings.topics.model_copy(update={"results": f"{settings.topics.results}.grouped"})
    return settings.model_copy(update=update)


def gather(spark: SparkSession, settings: Settings) -> None:
    """What the application that gathers does with what is there."""
    make(spark, settings)
    gatherer = Gatherer(spark, settings, gather_checkpoint(settings))
    query = start_gather(spark, settings, gatherer, available_now=True)
    query.awaitTermination()
    gatherer.look()
    Watch(spark, settings).look([query])


def match(spark: SparkSession, settings: Settings, group: int) -> None:
    """One group's application over what is there."""
    stream = settings.stream.model_copy(update={"match_group": group})
    mine = ready(settings.model_copy(update={"stream": stream}))
    claim(mine, ["nrt_results", "nrt_exceptions"])
    query = start_match(spark, mine, available_now=True)
    query.awaitTermination()
    Watch(spark, mine).look([query])


@dataclass
class Told:
    """The same records, matched by one and by two applications."""

    one: Stream
    two: Settings


@pytest.fixture(scope="module")
def sides(spark: SparkSession, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One application sees both chapters; two take over after the first, with checkpoints that begin anew."""
    root = tmp_path_factory.mktemp("groups")
    one = Stream(spark, broker, root, "groups", sweep_minutes=10, silence_floor_minutes=5)
    regular = [record for minute in range(24) for record in both(f"r{minute}", minute, "REG")]
    one.take(
        *[*both("p", 0), event("agoda", "f", 0), event("agoda", "s", 0, "SLOW"), event("supplier", "t", 0, "TIGHT")],
        *[*both("m", 0, "SLOW", amountMinor=20_000), *both("d", 0), event("agoda", "d", 0.3, eventId="again")],
        *regular,
        *beats(25),
    )
    two = grouped(one.settings, root / "two", **GROUPS)
    shutil.copytree(Path(one.settings.lake.root, "gold"), Path(two.lake.root, "gold"))
    create_topics(two.kafka.bootstrap_servers, two)
    one.restart()
    late = [event("supplier", "f", 25.5, eventTime=(T0).isoformat()), *both("q", 25.5, "TIGHT", status="PAID")]
    one.take(*late, event("agoda", "alone", 25.5, "REG"), event("agoda", "new", 25.5, "NEW"), *beats(100))
    may_change(two)
    claim(two, ["nrt_results", "nrt_exceptions", "hourly_summary"], take_over=True)
    gather(spark, two)
    for group in (0, 1):
        match(spark, two, group)
    gather(spark, two)
    return Told(one, two)


@pytest.mark.long
def test_two_applications_give_what_one_gives(sides: Told) -> None:
    one = sides.one.settings
    assert {group_of(sides.two, supplier) for supplier in ("FAST", "SLOW", "TIGHT", "REG", "NEW")} == {0, 1}
    assert {row["anomaly_type"] for row in exceptions_of(one)} >= {"FEED_SILENT", "MISSING_SUPPLIER", "PRICE_MISMATCH"}
    assert verdicts_of(sides.two) == verdicts_of(one)
    assert exceptions_of(sides.two) == exceptions_of(one)


@pytest.mark.long
def test_the_hours_are_those_of_all_groups(sides: Told) -> None:
    results = read(open_table(sides.two, "nrt_results"), "nrt_results").to_dicts()
    assert told(read(open_table(sides.two, "hourly_summary"), "hourly_summary").to_dicts()) == summary(results)


@pytest.mark.long
def test_each_group_tells_the_topic_of_what_is_new(sides: Told) -> None:
    messages = consume(sides.two, sides.two.topics.results)
    assert messages
    assert len(messages) < len(consume(sides.one.settings, sides.one.settings.topics.results))


@pytest.mark.long
def test_each_group_has_verdicts_on_its_own_suppliers_alone(sides: Told) -> None:
    for part in parts_of(sides.two):
        rows = read(open_table(part, "nrt_results"), "nrt_results")
        assert {group_of(sides.two, supplier) for supplier in rows["supplier_id"]} == {part.stream.match_group}


@pytest.mark.long
def test_the_day_is_read_when_the_slowest_group_has_read_it(sides: Told) -> None:
    two = sides.two
    assert read_watermark(two) == T0 + timedelta(minutes=100)
    three = two.model_copy(update={"stream": two.stream.model_copy(update={"match_groups": 3})})
    assert read_watermark(three) is None


@pytest.mark.long
def test_another_grouping_waits_until_all_is_gathered(spark: SparkSession, sides: Told) -> None:
    """Runs last: it changes the tables."""
    two = sides.two
    stream = two.stream.model_copy(update={"match_groups": 3})
    three = two.model_copy(update={"stream": stream})
    with pytest.raises(UserError, match=r"gold/nrt_results .* written by stream:_checkpoints/gather/2-.*--take-over"):
        claim(three, ["nrt_results"])
    may_change(three)
    undivided = two.model_copy(update={"stream": two.stream.model_copy(update={"match_groups": 1})})
    part = of_group(two, 1)
    rows = spark.read.format("delta").load(part.table_path("nrt_results")).limit(1)
    named = rows.withColumn("result_id", F.lit("not gathered"))
    named.write.format("delta").mode("append").save(part.table_path("nrt_results"))
    for other in (three, undivided):
        with pytest.raises(UserError, match=r"1 rows of the groups 2-\w+ are not in gold.*--only gather"):
            may_change(other)
    gather(spark, two)
    may_change(undivided)
    claim(undivided, ["nrt_results"], take_over=True)
    with pytest.raises(UserError, match="left from when suppliers were grouped so before"):
        may_change(two)
    with pytest.raises(UserError, match=r"is written by stream:_checkpoints\): first start"):
        ready(two.model_copy(update={"stream": two.stream.model_copy(update={"match_group": 0})}))


def test_python_and_spark_deal_suppliers_out_alike(spark: SparkSession) -> None:
    names = [f"SUP-{n:03}" for n in range(60)] + ["ÅÄÖ ホテル", "", "BIG"]
    settings = Settings(stream=StreamSettings(match_groups=7, match_suppliers={"BIG": 3, "SUP-001": 0}))
    rows = local_rows(spark, [(name,) for name in names], "supplier_id string")
    for part in parts_of(settings):
        mine = {row["supplier_id"] for row in only_mine(part, rows).collect()}
        assert mine == {name for name in names if group_of(settings, name) == part.stream.match_group}
    assert {group_of(settings, name) for name in names} == set(range(7))


@pytest.mark.parametrize(
    ("groups", "group", "only", "runs"),
    [
        (1, None, None, "normalise match"),
        (1, None, "match", "match"),
        (1, None, "gather", "normalise and match"),
        (2, None, None, "normalise gather"),
        (2, None, "match", "normalise and gather"),
        (2, 1, None, "match"),
        (2, 1, "normalise", "runs match"),
    ],
)
def test_what_an_application_runs(groups: int, group: int | None, only: str | None, runs: str) -> None:
    settings = Settings(stream=StreamSettings(match_groups=groups, match_group=group))
    chosen = Only(only) if only else None
    if " and " in runs or runs.startswith("runs"):
        with pytest.raises(UserError, match=runs):
            queries_of(settings, chosen)
    else:
        assert queries_of(settings, chosen) == runs.split()


def _told(settings: Settings, query: str, **said: Any) -> None:
    path = Path(progress_file(settings, query))
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat()
    words = {"query": query, "state": "RUNNING", "told_at": now, "process": this_process(), **said}
    path.write_text("{" + ", ".join(f'"{key}": "{value}"' for key, value in words.items()) + "}\n")


def test_a_group_that_nobody_matches_is_named(tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path)), stream=StreamSettings(match_groups=2))
    now = datetime.now(UTC)
    never = missing(queries(settings), now)
    assert set(never) == {0, 1}
    assert "GROUP 1 OF 2, nobody ever has" in never[1]
    _told(of_group(settings, 0), "match")
    assert set(missing(queries(settings), now)) == {None, 1}
    _told(settings, "gather")
    _told(of_group(settings, 1), "match", told_at=(now - timedelta(minutes=5)).isoformat())
    assert "GROUP 1 OF 2, not since" in missing(queries(settings), now)[1]
    _told(of_group(settings, 1), "match")
    assert missing(queries(settings), now) == {}
    for part in [settings, *parts_of(settings)]:
        _told(part, "gather" if part is settings else "match", state="ENDED")
    assert missing(queries(settings), now) == {}, "all have ended"


def test_status_says_aloud_which_group_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path))
    monkeypatch.setenv("RECO_STREAM__MATCH_GROUPS", "2")
    settings = Settings(lake=Lake(root=str(tmp_path)), stream=StreamSettings(match_groups=2))
    _told(of_group(settings, 0), "match")
    with pytest.raises(SystemExit, match="0"):
        main(["status"])
    said = capsys.readouterr().out
    assert "NOBODY MATCHES GROUP 1 OF 2, nobody ever has: its suppliers are not judged" in said
    assert "GROUP 0" not in said


def test_a_group_waits_for_its_tables(tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path)), stream=StreamSettings(match_groups=2, match_group=1))
    with pytest.raises(UserError, match=r"Group 1 of 2 has no tables .*gold/nrt_results is not there yet.*first start"):
        ready(settings)


@pytest.mark.long
def test_a_group_waits_until_its_tables_know_what_gold_has(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path)), stream=StreamSettings(match_groups=2))
    asked = settings.model_copy(update={"stream": settings.stream.model_copy(update={"match_group": 1})})
    for place in [settings, of_group(settings, 1)]:
        for name in GROUPED:
            ensure_table(spark, place, name)
    with pytest.raises(UserError, match=r"Group 1 of 2 .*gold/nrt_results is there, the group's own is not yet"):
        ready(asked)
    make(spark, settings)
    assert ready(asked).is_part


def test_two_applications_of_one_group_are_refused(sides_tables: Settings) -> None:
    mine = of_group(sides_tables, 1)
    asked = sides_tables.model_copy(update={"stream": sides_tables.stream.model_copy(update={"match_group": 1})})
    times = iter(range(1, 9))

    def tick(_: float) -> None:
        _told(mine, "match", told_at=(datetime.now(UTC) + timedelta(milliseconds=next(times))).isoformat())

    _told(mine, "match")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.streaming.groups.time.sleep", tick)
        with pytest.raises(UserError, match=rf"Group 1 of 2 is matched already, by the process {this_process()}"):
            ready(asked)
    for gone in (
        {"state": "ENDED"},
        {"process": f"{socket.gethostname()}:4194305"},
        {"told_at": "2026-01-01T00:00:00Z"},
    ):
        _told(mine, "match", **gone)
        assert ready(asked).is_part


@pytest.fixture
def sides_tables(spark: SparkSession, tmp_path: Path) -> Settings:
    """A lake with the tables of two groups, empty."""
    settings = Settings(lake=Lake(root=str(tmp_path)), stream=StreamSettings(match_groups=2))
    make(spark, settings)
    return settings


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ({"match_group": 0}, "mean something only where match_groups is 2 or more"),
        ({"match_groups": 2, "match_group": 2}, "match_group: 2 is none of the 2 groups, 0 to 1"),
        ({"match_groups": 2, "match_suppliers": {"A": 2}}, "match_suppliers: A is placed in none of the 2 groups"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(stream: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        StreamSettings(**stream)
