"""A supplier's feed stops and comes back, on a real broker: one exception holds what it explains, and lets it go."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from jobs.cli.broker import Broker
from jobs.common.settings import Settings
from jobs.streaming import results, silence
from jobs.streaming.feeds import Feeds
from jobs.streaming.in_force import policies_in_force
from jobs.streaming.main import start_match
from jobs.streaming.verdicts import Moment
from reco_rules import silence as silence_rules
from tests.daily import small_lake
from tests.oracle.normalise import Raw
from tests.streaming.feed import consume, wait_for
from tests.streaming.nrt import T0, Stream, beats, both, event

MISSING = "MISSING_SUPPLIER"
Row = dict[str, Any]


@dataclass
class Story:
    """The stream, and its exceptions after each chapter: by supplier of FEED_SILENT, by activity of all others."""

    stream: Stream
    chapters: dict[str, tuple[dict[str, Row], dict[str, Row]]] = field(default_factory=dict)

    def now(self) -> tuple[dict[str, Row], dict[str, Row]]:
        rows = self.stream.rows("nrt_exceptions")
        silent = {row["supplier_id"]: row for row in rows if row["anomaly_type"] == "FEED_SILENT"}
        return silent, {row["activity_id"]: row for row in rows if row["anomaly_type"] != "FEED_SILENT"}

    def holding(self, chapter: str) -> set[str]:
        """The activities whose exceptions are held."""
        return {activity for activity, row in self.chapters[chapter][1].items() if row["held_by"]}


def _history() -> list[Raw]:
    """Each supplier's usual gaps until T0: FAST, SLOW and DAILY a minute, RARE three quarters of an hour."""
    minutely = [both(f"{s}{n}", -n, s) for s in ("FAST", "SLOW", "DAILY") for n in range(22)]
    rarely = [both(f"RARE{n}", -45 * n, "RARE") for n in range(22)]
    return [record for pair in (*minutely, *rarely, *[both(f"NEW{n}", -n, "NEW") for n in range(5)]) for record in pair]


@pytest.fixture(scope="module")
def story(spark: SparkSession, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Story:
    stream = Stream(spark, broker, tmp_path_factory.mktemp("silence"), "silence", sweep_minutes=10)
    told = Story(stream)
    asked = [event("agoda", "old", -5), event("agoda", "a1", 1), event("agoda", "a2", 2)]
    asked += [event("agoda", "euro", 3, currency="EUR"), event("agoda", "slow", 1, "SLOW")]
    # What some programs write for no time at all; nothing else is known of that supplier.
    asked += [event("supplier", "dawn", 1, "DAWN", eventTime="0001-01-01T00:00:00.000Z")]
    again = replace(event("supplier", "FAST3", -3), timestamp=T0 + timedelta(minutes=20))
    with pytest.MonkeyPatch.context() as patch:
        _break_second_telling(patch)
        with pytest.raises(StreamingQueryException, match="broken here"):
            stream.take(*_history(), *asked, again, *both("SLOW-on", 33, "SLOW"), *beats(35))
    told.chapters["broken"] = told.now()
    stream.send(event("agoda", "b", 36), *both("SLOW-still", 49, "SLOW"), *beats(50))
    query = start_match(spark, stream.settings, available_now=False)
    _until(lambda: told.now()[0]["FAST"]["amount_at_risk_usd"] == 300, query)
    told.chapters["silent"] = told.now()
    # The stream's time does not move: what it hears must be enough.
    stream.send(event("supplier", "a1", 51, eventTime=(T0 + timedelta(minutes=1)).isoformat()))
    _until(lambda: told.now()[0]["FAST"]["state"] == "RESOLVED", query)
    query.stop()
    told.chapters["back"] = told.now()
    checkpoint = Path(stream.settings.stream.checkpoint_root, "match")
    checkpoint.rename(checkpoint.with_name("lost"))
    stream.restart()
    stream.match()
    told.chapters["replayed"] = told.now()
    return told


def test_a_feed_that_stops_is_one_exception_with_its_money(story: Story) -> None:
    # Neither the one with long gaps, nor the one that goes on, nor the daily one, nor the one that is hardly known.
    for chapter in ("broken", "silent"):
        assert set(story.chapters[chapter][0]) == {"FAST"}
    row = story.chapters["broken"][0]["FAST"]
    assert (row["activity_id"], row["state"], row["severity"]) == (None, "OPEN", "HIGH")
    assert (row["amount_at_risk_usd"], row["known_since"], row["reopened"]) == (Decimal(200), T0, 0)
    assert row["explanation"] == (
        f"SUPPLIER sent nothing after {T0:%Y-%m-%d %H:%M:%S}: gaps of 60.000 s are usual, "
        "on most days one of 60.000 s, 1800.000 s allowed; it holds 3 MISSING_SUPPLIER"
    )


def test_it_holds_what_it_explains(story: Story) -> None:
    assert story.holding("broken") == {"a1", "a2", "euro"}
    silent, rows = story.chapters["silent"]
    assert story.holding("silent") == {"a1", "a2", "euro", "b"}
    assert {rows[name]["held_by"] for name in ("a1", "b")} == {silent["FAST"]["exception_id"]}
    assert {rows[name]["state"] for name in ("a1", "b", "old", "slow")} == {"OPEN"}
    assert silent["FAST"]["explanation"].endswith("it holds 4 MISSING_SUPPLIER")


def test_what_opens_under_silence_is_told_as_held(story: Story) -> None:
    messages = [message for message in _messages(story) if message.get("anomalyType") == MISSING]
    opened = [m for m in messages if m["activityId"] == "b" and m["state"] == "OPEN"]
    assert {message.get("heldBy") for message in opened[:1]} == {story.chapters["silent"][0]["FAST"]["exception_id"]}


def test_what_is_let_go_is_told_though_it_stays_open(story: Story) -> None:
    messages = [message for message in _messages(story) if message.get("anomalyType") == MISSING]
    last = {message["activityId"]: (message["state"], message.get("heldBy")) for message in messages}
    assert {last[name] for name in ("a2", "euro", "b")} == {("OPEN", None)}


def test_when_the_feed_is_back_all_settles(story: Story) -> None:
    silent, rows = story.chapters["back"]
    assert (silent["FAST"]["state"], silent["FAST"]["reopened"]) == ("RESOLVED", 0)
    assert story.holding("back") == set()
    states = {name: rows[name]["state"] for name in ("a1", "a2", "euro", "b", "old", "slow")}
    assert states == {**dict.fromkeys(states, "OPEN"), "a1": "RESOLVED"}


def test_a_lost_checkpoint_changes_nothing(story: Story) -> None:
    assert story.chapters["replayed"] == story.chapters["back"]


def test_each_change_is_told_even_after_a_crash(story: Story) -> None:
    told = [m for m in _messages(story) if m.get("anomalyType") == "FEED_SILENT"]
    changes = {m["resultId"]: (m["state"], m["amountAtRiskUsd"]) for m in told}
    assert sorted(changes.values()) == [("OPEN", 200), ("OPEN", 300), ("RESOLVED", 300)]
    assert {(m["supplierId"], m.get("activityId")) for m in told} == {("FAST", None)}


def _messages(story: Story) -> list[Row]:
    settings = story.stream.settings
    return [json.loads(value or b"") for _, _, value in consume(settings, settings.topics.results)]


def _until(condition: Callable[[], bool], query: Any) -> None:
    def holds() -> bool:
        assert query.exception() is None
        return condition()

    wait_for(holds, 120, "change of the silence")
    query.processAllAvailable()


def _break_second_telling(patch: pytest.MonkeyPatch) -> None:
    """The first is that of the start, with nothing to tell; the second fails when its exception is written."""
    calls, whole = count(1), results.tell_silence

    def broken(*args: Any) -> None:
        if next(calls) > 1:
            raise RuntimeError("broken here")
        whole(*args)

    patch.setattr(silence, "tell_silence", broken)


def test_what_retention_has_left_nothing_of_is_silent_still(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_lake.make(tmp_path, [small_lake.event("SUPPLIER", "BK-1", supplier_id="OTHER", kafka_time=T0)])
    moment = Moment(T0 + timedelta(hours=1), T0 + timedelta(hours=1), policies_in_force(settings))
    feeds, reads, whole = Feeds(settings), list[DataFrame](), silence_rules.usual_gaps

    def usual_gaps(deliveries: DataFrame) -> DataFrame:
        reads.append(deliveries)
        return whole(deliveries)

    monkeypatch.setattr("jobs.streaming.feeds.usual_gaps", usual_gaps)
    for _ in range(2):
        (found,) = feeds.silent(spark, moment, {"GONE": T0 - timedelta(days=40)})
        assert (found["supplier_id"], found["usual_gap_seconds"], found["limit_seconds"]) == ("GONE", None, None)
    assert len(reads) == 1
    assert feeds.silent(spark, moment, {}) == []


@pytest.mark.parametrize(
    ("sweep_minutes", "floor_minutes", "expected"),
    # Switched off by the floor, it looks once: what was silent is so no more.
    [(10, 30, True), (0, 30, False), (10, 0, True)],
)
def test_when_it_looks_first(sweep_minutes: int, floor_minutes: int, expected: bool) -> None:
    settings = Settings(
        stream=Settings().stream.model_copy(
            update={"sweep_minutes": sweep_minutes, "silence_floor_minutes": floor_minutes}
        )
    )
    assert silence.Silence(settings).is_due(T0) is expected
