"""The stream's verdicts on a real broker: each supplier's grace in its own time, late answers, silence, outages."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession

from jobs.cli.broker import Broker
from jobs.common.errors import UserError
from jobs.common.fx import load
from jobs.common.metrics import REGISTRY
from jobs.common.progress_file import read_progress
from jobs.common.settings import Lake, Settings
from jobs.streaming import settle
from tests.oracle.normalise import Raw
from tests.scrape import scraped_here
from tests.streaming.feed import consume, produce_to
from tests.streaming.nrt import T0, Stream, beats, both, event
from tests.workloads.values import CLOCK

MISSING = "MISSING_SUPPLIER"
PLACES = ("_append", "keep_exceptions", "tell", "after")
BACKLOG = [f"o{n}" for n in range(20)]
#: What is none of the canonical messages, as another's producer might send them.
FOREIGN = [
    b"",
    b"no JSON",
    b"[1]",
    b"{}",
    b'{"supplierId":"FAST","activityId":"foreign","publishedAt":"yesterday","graceSeconds":60}',
    b'{"heartbeat":true,"eventTime":"soon","publishedAt":"+294247-01-09T00:00:00Z"}',
]
_EVENT = {
    "eventId": "e",
    "activityType": "BOOKING",
    "amountMinor": 1,
    "currency": "USD",
    "status": "PAID",
    "version": 1,
}
_EVENT |= {"supplierId": "FAST", "activityId": "foreign", "eventTime": T0.isoformat(), "publishedAt": T0.isoformat()}
FOREIGN += [
    json.dumps(_EVENT | {"graceSeconds": 60} | wrong).encode()
    for wrong in ({"graceSeconds": 10**18}, {"graceSeconds": -1}, {"amountMinor": "1.5"}, {"version": None})
]
#: What the stories send: the fixture `told`.
RECORDS = {
    ("AGODA", "EVENT"): 47,
    ("SUPPLIER", "EVENT"): 39,
    ("AGODA", "HEARTBEAT"): 19,
    ("SUPPLIER", "HEARTBEAT"): 19,
    ("AGODA", "QUARANTINE"): 1,
}


#: What the join does not take.
DROPPED = ["late", *FOREIGN]


@dataclass
class Told:
    """The stream after its stories, and what it had open after each chapter of them."""

    stream: Stream
    plan: str
    chapters: list[dict[tuple[str, str], str]]
    rise: Counter[str]
    scraped: dict[str, float]
    #: The activities that were judged by all that silver has of them, where plain pairs came.
    looked_for: set[str] = field(default_factory=set)

    def of(self, activity: str) -> list[dict[str, str]]:
        """The states of one activity's exceptions by type, chapter by chapter."""
        return [{kind: state for (name, kind), state in now.items() if name == activity} for now in self.chapters]


@pytest.fixture(scope="module")
def told(spark: SparkSession, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """All stories side by side, without the sweeper: what calls for a verdict must be enough."""
    stream = Stream(spark, broker, tmp_path_factory.mktemp("nrt"), "nrt")
    for side in ("AGODA", "SUPPLIER"):  # other tests' streams may have been further on
        REGISTRY.put("reco_newest_published_timestamp_seconds", 0, side=side, kind="HEARTBEAT")
    before = scraped_here()
    found = Told(stream, "", [], Counter(), {})

    def chapter(*records: Raw) -> None:
        found.plan = stream.take(*records)
        found.chapters.append(stream.exceptions())

    # What is sent before a change of policies is stamped by those before; it need not be matched by itself.
    stream.send(
        *[event("agoda", "f", 0), event("agoda", "s", 0, "SLOW"), *both("p", 0)],
        *[*both("v", 0), event("agoda", "v", 0.4, status="CANCELLED", version=2)],
        *[event("agoda", "i", 0, "APART", version=7), event("supplier", "i", 0, "APART")],
        *[event("agoda", "j", 0, "APART")],
        *[event("supplier", "j", 0, "APART", activityType="PAYMENT", status="PAID")],
        *[*both("d", 0), event("agoda", "d", 0.3, eventId="again", eventTime=_time_of(-300))],
        *[event("agoda", "to-nrt", 0, "DAILY"), event("agoda", "x", 0, "DAILY")],
        *[*_first_of_r(0), event("agoda", "r", 0.1, version=2), event("supplier", "r", 0.1, version=2)],
        *[*both("same", 0), event("agoda", "w", 0)],
        event("agoda", "none", 0, currency="ZZZ", version=0),
        # Legal, whatever its sender meant; what PySpark writes of such a year, Java does not read.
        event("agoda", "ancient", 0, eventTime="0999-12-31T10:00:00.000Z"),
        *beats(0.5),
    )
    stream.apply(daily="NRT_HOURLY")
    first = [event("supplier", "to-nrt", 0.9, "DAILY"), event("agoda", "to-daily", 0.9, "DAILY")]
    chapter(*first, event("supplier", "w", 0.95), *beats(0.9))
    stream.apply(daily="DAILY_ONLY")
    sent = [(event("agoda", o, 1 + n / 10), event("supplier", o, 1.9 + n / 10)) for n, o in enumerate(BACKLOG)]
    last = [event("supplier", "to-daily", 1.2, "DAILY"), event("agoda", "q", 1.2)]
    # The join still holds who answered the first, after the watermark.
    last += [event("agoda", "w", 1, eventId="other", amountMinor=50_000, eventTime=_time_of(-1))]
    chapter(*last, *[record for pair in sent for record in pair], *beats(6, partitions=3))
    answers = [event("supplier", "f", 7, eventTime=_time_of(0))]
    answers += [event("supplier", "v", 7, status="CANCELLED", version=2, eventTime=_time_of(0.4))]
    answers += [event("agoda", "late", 0.2)]
    answers += [*_first_of_r(7), *[event(side, "same", 7, eventTime=_time_of(0)) for side in ("agoda", "supplier")]]
    plain = [*both("plain", 6.9), *both("paid", 6.9, status="PAID")]
    with _looks(found.looked_for):
        chapter(*answers, *plain, *beats(7))
    produce_to(stream.settings, stream.settings.topics.agoda_nrt, FOREIGN)
    # The last are published when the grace of `held` has passed, but speak for what was published before its end.
    chapter(
        event("supplier", "v", 8, version=3),
        event("agoda", "held", 10.5),
        event("agoda", "before", 10.9, "SLOWEST"),
        *both("far", 11.9, "SLOWEST"),
        *beats(11, later=2),
    )
    found.scraped = scraped_here()
    found.rise = Counter({name: value - before.get(name, 0) for name, value in found.scraped.items()})
    return found


def test_each_supplier_expires_in_its_own_time_and_a_late_answer_resolves_at_once(told: Told) -> None:
    # The answer finds no other side in the join, and its own grace has not passed.
    assert told.of("f") == [{}, {MISSING: "OPEN"}, {MISSING: "RESOLVED"}, {MISSING: "RESOLVED"}]
    assert told.stream.outcomes("f") == [MISSING, "MATCHED"]
    assert told.of("s") == [{}, {}, {}, {MISSING: "OPEN"}]


def test_a_pair_is_judged_as_soon_as_both_are_there(told: Told) -> None:
    assert told.stream.outcomes("p") == ["MATCHED"]
    assert told.of("p") == [{}] * 4


def test_the_join_lets_go_of_what_its_watermark_has_passed(told: Told) -> None:
    assert re.search(r"state cleanup \[ left value predicate: \(agoda_w#\d+\S* <= \d+\)", told.plan), told.plan
    assert re.search(r"right value predicate: \(supplier_w#\d+\S* <= \d+\)", told.plan), told.plan


def test_after_an_outage_the_backlog_gives_no_false_break(told: Told) -> None:
    assert {name: told.stream.outcomes(name) for name in BACKLOG} == {name: ["MATCHED"] for name in BACKLOG}
    assert all(told.of(name) == [{}] * 4 for name in BACKLOG)


def test_a_heartbeat_speaks_up_to_its_own_time(told: Told) -> None:
    assert told.of("held")[-1] == {}
    assert told.scraped["reco_watermark_timestamp_seconds"] == (T0 + timedelta(minutes=11)).timestamp()


def test_an_event_speaks_for_no_other_whatever_its_grace(told: Told) -> None:
    # `far` was published when the grace of `held` had passed.
    assert told.stream.outcomes("far") == ["MATCHED"]
    assert told.of("held")[-1] == {}


def test_what_is_no_message_of_ours_is_dropped_and_counted(told: Told) -> None:
    assert told.scraped["reco_watermark_timestamp_seconds"] < (T0 + timedelta(hours=1)).timestamp()
    assert told.of("foreign") == [{}] * 4
    assert told.stream.outcomes("foreign") == []


def test_a_partition_without_heartbeats_holds_nothing_back(told: Told) -> None:
    assert told.of("q")[1] == {MISSING: "OPEN"}


def test_a_break_between_versions_pends_until_the_answer_is_due(told: Told) -> None:
    states = ["PENDING", "OPEN", "RESOLVED", "OPEN+1"]
    assert told.of("v") == [{"STATUS_MISMATCH": state} for state in states]


def test_what_comes_too_late_for_the_join_is_judged_in_the_next_batch(told: Told) -> None:
    assert told.of("late")[2:] == [{MISSING: "OPEN"}] * 2


def test_independent_versions_meet_by_activity_type(told: Told) -> None:
    assert told.stream.outcomes("i") == ["MATCHED"]
    assert told.of("j") == [{}, *[{"STATUS_MISMATCH": "OPEN"}] * 3]


def test_duplicates_and_delays_are_open_at_once(told: Told) -> None:
    assert told.of("d")[0] == {"DUPLICATE_AGODA": "OPEN", "DELAYED_AGODA": "OPEN"}


def test_an_event_of_long_ago_ends_nothing(told: Told) -> None:
    assert told.of("ancient")[-1] == {MISSING: "OPEN", "DELAYED_AGODA": "OPEN"}


def test_what_both_sides_send_again_changes_nothing(told: Told) -> None:
    # Not even where it is an older version of both, whose first publication the join has long let go of; other
    # policies came between, so that the same is said by those.
    assert told.of("r") == told.of("same") == [{}] * 4
    said = [row for row in told.stream.rows("nrt_results") if row["activity_id"] in ("r", "same")]
    assert {(row["activity_id"], row["outcome"], row["agoda_version"]) for row in said} == {
        ("r", "MATCHED", 2),
        ("same", "MATCHED", 1),
    }


def test_what_one_side_sends_again_otherwise_is_a_duplicate_of_the_first(told: Told) -> None:
    # Its price would be no match; but what happened last is what came first.
    assert told.of("w") == [{}, *[{"DUPLICATE_AGODA": "OPEN"}] * 3]


def test_a_supplier_that_changes_its_mode_makes_no_false_break(told: Told) -> None:
    assert [told.of(name)[-1] for name in ("to-nrt", "to-daily", "x")] == [{}] * 3
    assert told.stream.outcomes("to-nrt") == told.stream.outcomes("to-daily") == ["MATCHED"]
    assert told.stream.outcomes("x") == []


@pytest.mark.parametrize("places", [("keep_exceptions",), pytest.param(PLACES, marks=pytest.mark.long)])
def test_a_batch_that_fails_between_two_writes_is_made_whole(
    told: Told, monkeypatch: pytest.MonkeyPatch, places: tuple[str, ...]
) -> None:
    # Past the grace of `before`, which the join holds.
    stream, start, tag = told.stream, 400 * len(places), f"{len(places)}"
    for number, place in enumerate(places):
        minutes = start + 1 + 10 * number
        pairs = [*both(f"m{place}{tag}", minutes), *both(f"b{place}{tag}", minutes, status="PAID")]
        with monkeypatch.context() as patch:
            # From the second on, the batch that failed before comes first, and must pass.
            _break(patch, place, passing=min(number, 1))
            with pytest.raises(StreamingQueryException, match="broken here"):
                stream.take(*pairs, *beats(minutes + 2))
    stream.take(*beats(start + 100))
    assert stream.outcomes("before") == [MISSING]
    assert stream.exceptions("before") == {("before", MISSING): "OPEN"}
    for place in places:
        matched, broken = f"m{place}{tag}", f"b{place}{tag}"
        assert [stream.outcomes(matched), stream.outcomes(broken)] == [["MATCHED"], ["MISMATCHED"]]
        assert stream.exceptions(matched, broken) == {(broken, "STATUS_MISMATCH"): "OPEN"}


def test_prometheus_is_told_what_the_tables_say(told: Told) -> None:
    stream, rise = told.stream, told.rise
    # These are judged after their chapter.
    rows = [row for row in stream.rows("nrt_results") if row["activity_id"] not in ("held", "before")]
    results = [row for row in rows if row["published_at"] < T0 + timedelta(minutes=60)]
    outcomes = Counter(row["outcome"] for row in results)
    kinds = Counter(kind for row in results for kind in row["anomaly_types"])
    assert _of(rise, "reco_verdicts_total", "outcome") == outcomes
    assert _of(rise, "reco_anomalies_total", "anomaly_type") == kinds
    assert _of(rise, "reco_reconciliation_lag_seconds_count", "outcome") == outcomes
    for outcome in outcomes:
        mine = [row for row in results if row["outcome"] == outcome]
        until_begun = sum((row["verdict_at"] - row["published_at"]).total_seconds() for row in mine)
        told_sum = rise[f'reco_reconciliation_lag_seconds_sum{{outcome="{outcome}"}}']
        assert until_begun < told_sum < until_begun + 600 * len(mine), "until it was told, after the batch began"


def test_prometheus_is_told_of_records_and_of_the_queries(told: Told) -> None:
    rise, scraped = told.rise, told.scraped
    chapters = len(told.chapters)
    records = {(side, kind): rise[f'reco_records_total{{kind="{kind}",side="{side}"}}'] for side, kind in RECORDS}
    assert records == RECORDS
    assert _of(rise, "reco_quarantined_total", "reason") == {"INVALID_FIELD:version": 1, "UNKNOWN_CURRENCY": 1}
    normalised = {
        name: rise[f'reco_query_{name}{{query="normalise"}}'] for name in ("batches_total", "input_rows_total")
    }
    assert normalised == {"batches_total": chapters + 1, "input_rows_total": sum(RECORDS.values())}
    assert rise['reco_query_batch_duration_seconds_count{query="normalise"}'] == chapters + 1
    # A batch of match has rows, or moves the watermark of the one before.
    assert rise['reco_query_batches_total{query="match"}'] >= 2 * chapters - 1
    assert rise["reco_rows_dropped_by_watermark_total"] == len(DROPPED)
    at = (T0 + timedelta(minutes=13)).timestamp()
    assert scraped["reco_watermark_lag_seconds"] == 120  # the newest heartbeats speak for two minutes before
    assert scraped['reco_newest_published_timestamp_seconds{kind="HEARTBEAT",side="SUPPLIER"}'] == at
    assert scraped["reco_state_rows"] > 0
    assert {scraped[f'reco_query_running{{query="{query}"}}'] for query in ("normalise", "match")} == {0}


def test_status_is_told_without_a_jvm(told: Told) -> None:
    found = read_progress(told.stream.settings, "match")
    assert found is not None
    assert (found["query"], found["state"], found["why"]) == ("match", "ENDED", None)
    assert found["rows_dropped_by_watermark"] == len(DROPPED)
    assert found["watermark"] >= T0 + timedelta(minutes=11)
    assert found["state_rows"] >= 0
    assert found["batch_ended_at"] <= found["told_at"]
    normalised = read_progress(told.stream.settings, "normalise")
    assert normalised is not None
    assert normalised["batch"] >= len(told.chapters)
    assert normalised["watermark"] is None


def test_a_plain_pair_is_judged_without_a_look_at_all_of_silver(told: Told) -> None:
    assert told.looked_for >= {"f", "late"}
    assert told.looked_for.isdisjoint({"plain", "paid"})
    assert [told.stream.outcomes("plain"), told.stream.outcomes("paid")] == [["MATCHED"], ["MISMATCHED"]]
    assert told.of("paid")[2:] == [{"STATUS_MISMATCH": "OPEN"}] * 2


def test_what_is_told_can_be_told_apart(told: Told) -> None:
    stream = told.stream
    kinds: dict[str, list[dict[str, Any]]] = {"VERDICT": [], "EXCEPTION": []}
    for message in {value for _, _, value in consume(stream.settings, stream.settings.topics.results)}:
        read = json.loads(message or b"")
        kinds[read["kind"]].append(read)
    verdicts = {message["resultId"] for message in kinds["VERDICT"]}
    results = stream.rows("nrt_results")
    assert len(results) == len({row["result_id"] for row in results})
    assert verdicts == {row["result_id"] for row in results}
    last = {(row["exception_id"], row["state"]) for row in stream.rows("nrt_exceptions")}
    assert last <= {(message["exceptionId"], message["state"]) for message in kinds["EXCEPTION"]}


@pytest.mark.long
def test_new_rates_and_tolerances_judge_anew_and_what_comes_back_is_said_again(
    spark: SparkSession, broker: Broker, tmp_path: Path
) -> None:
    stream = Stream(spark, broker, tmp_path, "rates", sweep_minutes=10)

    def take(dollars: str, *records: Raw) -> dict[tuple[str, str], str]:
        (tmp_path / "fx.csv").write_text(f"rate_date,currency,usd_per_unit\n{T0:%Y-%m-%d},EUR,{dollars}\n")
        load(stream.settings, tmp_path / "fx.csv", CLOCK)
        stream.take(*records)
        return stream.exceptions("e", "t")

    def again(minutes: float) -> Raw:
        return event("agoda", "e", minutes, "SLOW", currency="EUR", eventTime=_time_of(0))

    e, t = ("e", "PRICE_MISMATCH"), ("t", "PRICE_MISMATCH")
    dear = both("t", 0, "TIGHT", amountMinor=20_000)
    assert take("1.10", again(0), event("supplier", "e", 0, "SLOW", amountMinor=11_000), *dear, *beats(1)) == {
        t: "OPEN"
    }
    assert REGISTRY.value("reco_unresolved_exceptions", anomaly_type="PRICE_MISMATCH", state="OPEN") == 1
    assert take("1.20", again(1.5), *beats(2)) == {e: "OPEN", t: "OPEN"}
    assert take("1.10", *beats(3)) == {e: "RESOLVED", t: "OPEN"}
    assert take("1.20", *beats(4)) == {e: "RESOLVED", t: "OPEN"}
    assert take("1.20", again(4.5), *beats(5)) == {e: "OPEN+1", t: "OPEN"}
    assert take("1.20", again(5.5), *beats(6)) == {e: "OPEN+1", t: "OPEN"}
    results = stream.rows("nrt_results")
    assert stream.outcomes("e") == ["MATCHED", "MISMATCHED"] * 2
    assert len({row["result_id"] for row in results}) == len(results) == 5
    messages = [json.loads(value or b"") for _, _, value in consume(stream.settings, stream.settings.topics.results)]
    mine = [m for m in messages if m["kind"] == "EXCEPTION" and m["activityId"] == "e"]
    assert list({m["resultId"]: m["state"] for m in mine}.values()) == ["OPEN", "RESOLVED", "OPEN"]
    stream.apply(tight="100")
    assert take("1.20", *both("other", 7), *beats(7)) == {e: "OPEN+1", t: "RESOLVED"}


@pytest.mark.long
def test_a_redelivery_changes_nothing_however_late_it_comes(
    spark: SparkSession, broker: Broker, tmp_path: Path
) -> None:
    days, stream = 3 * 24 * 60, Stream(spark, broker, tmp_path, "again", sweep_minutes=10)
    again = {"eventTime": _time_of(0)}
    stream.take(*both("r", 0), event("agoda", "m", 0), event("supplier", "a", 0), *beats(5))
    before = stream.exceptions()
    assert before == {("m", MISSING): "OPEN", ("a", "MISSING_AGODA"): "OPEN"}
    late = [event("agoda", "r", days, **again), event("agoda", "m", days, **again)]
    # Never sent before, of the same hour: it is an answer, late as it is.
    stream.take(*late, event("agoda", "a", days, **again), *beats(days + 5))
    assert stream.outcomes("r") == ["MATCHED"]
    assert stream.outcomes("m") == [MISSING]
    assert stream.exceptions() == before | {("a", "MISSING_AGODA"): "RESOLVED", ("a", "DELAYED_AGODA"): "OPEN"}
    stream.take(event("supplier", "m", days + 6, **again), *beats(days + 10))
    assert stream.exceptions("m") == {("m", MISSING): "RESOLVED", ("m", "DELAYED_SUPPLIER"): "OPEN"}


@contextmanager
def _looks(found: set[str]) -> Iterator[None]:
    """Add the activities whose events are looked up in silver meanwhile."""
    whole = settle.Settler._judged

    def judged(settler: settle.Settler, keys: DataFrame, *args: Any) -> Any:
        found.update(row["activity_id"] for row in keys.select("activity_id").collect())
        return whole(settler, keys, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settle.Settler, "_judged", judged)
        yield


def _first_of_r(minutes: float) -> list[Raw]:
    """Both sides' first version of one activity, which do not match, published then."""
    again = {"eventTime": _time_of(0)}
    return [event("agoda", "r", minutes, **again), event("supplier", "r", minutes, amountMinor=15_000, **again)]


def _of(rise: Counter[str], name: str, label: str) -> dict[str, float]:
    """What has risen of a metric with one label, by its value."""
    found = {re.fullmatch(rf'{name}{{{label}="(.*)"}}', series): value for series, value in rise.items() if value}
    return {match[1]: value for match, value in found.items() if match}


def _break(patch: pytest.MonkeyPatch, place: str, passing: int) -> None:
    """Fail at a place from the call after so many that pass."""
    owner: Any = settle.Settler if place == "_append" else settle
    name = "tell" if place == "after" else place
    calls, whole = count(1), getattr(owner, name)

    def broken(*args: Any) -> Any:
        fails = next(calls) > passing
        done = whole(*args) if not fails or place == "after" else None
        if fails:
            raise RuntimeError("broken here")
        return done

    patch.setattr(owner, name, broken)


def _time_of(minutes: float) -> str:
    return (T0 + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")


def test_it_needs_what_was_normalised(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no table silver/activity under .*--only normalise"):
        settle.Settler(spark, Settings(lake=Lake(root=str(tmp_path))), str(tmp_path))
