"""The generator's truth holds: against its own promises, and against the oracle of the contract."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from unittest.mock import Mock

import pytest

from jobs.common.errors import FAILED, UserError
from jobs.common.policies import Policy as Agreed
from jobs.common.settings import Settings
from jobs.ingest import plan, poison
from jobs.ingest.events import Rates, Record, iso, midnight_ms
from jobs.ingest.generate import limits_of, run, spec_in_force
from jobs.ingest.produce import AHEAD_MS, Sender
from jobs.ingest.workload import LONGEST_SKEW_MS, Spec, Workload
from tests.oracle.close import close
from tests.oracle.model import Event, Policy
from tests.oracle.normalise import Raw, normalise

START = date(2026, 10, 15)  # a Thursday: Saturday's rates are carried
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOPICS = {"AGODA": "agoda.raw.activity", "SUPPLIER": "supplier.raw.activity"}
RATES = {
    "EUR": {START: Decimal("1.1186"), START + timedelta(days=1): Decimal("1.1231")},
    "JPY": {START: Decimal("0.006317989269"), START + timedelta(days=1): Decimal("0.006401")},
    "THB": {START - timedelta(days=1): Decimal("0.0305")},
    "KRW": {START - timedelta(days=3): Decimal("0.000702113")},
}
AGREED = {
    None: Agreed(),
    "SUP-001": Agreed(mode="DAILY_ONLY", abs_tol_usd=Decimal(2)),
    "SUP-002": Agreed(grace=60, allowed_skew=30, max_delay=600),
    "SUP-003": Agreed(grace=21_600, allowed_skew=3_600, pct_tol=Decimal("0.0333")),
    "SUP-004": Agreed(allowed_skew=0, max_delay=0, abs_tol_usd=Decimal(0), pct_tol=Decimal(0)),
    "SUP-005": Agreed(allowed_skew=86_400, max_delay=604_800),
}
KINDS = {
    "MISSING_SUPPLIER",
    "MISSING_AGODA",
    "PRICE_MISMATCH",
    "FX_RATE_MISSING",
    "STATUS_MISMATCH",
    "TIMESTAMP_SKEW",
    "DUPLICATE_AGODA",
    "DUPLICATE_SUPPLIER",
    "DELAYED_AGODA",
    "DELAYED_SUPPLIER",
}


def spec(seed: int = 7, activities: int = 700, **more: object) -> Spec:
    named = {name: limits_of(policy) for name, policy in AGREED.items() if name is not None}
    whole = Spec(START, 3, activities, 8, seed, named, limits_of(AGREED[None]), Rates(RATES))
    return replace(whole, **more)  # type: ignore[arg-type]


def generated(wanted: Spec) -> tuple[Workload, list[Record]]:
    workload = Workload(wanted)
    return workload, list(workload.records())


def raw(records: Iterable[Record]) -> Iterable[Raw]:
    """The records as a broker would hold them."""
    for offset, record in enumerate(records):
        stamp = int(NOW.timestamp() * 1_000) + AHEAD_MS if record.ahead else record.published_ms
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=stamp)
        headers = tuple(record.headers or ())
        yield Raw(TOPICS[record.source], 0, offset, record.key, record.value, when, headers)


def found_by_oracle(wanted: Spec, records: list[Record]) -> tuple[set[tuple[object, ...]], Counter[tuple[str, ...]]]:
    events: list[Event] = []
    reasons: Counter[tuple[str, ...]] = Counter()
    for record in raw(records):
        verdict = normalise(record, NOW)
        if verdict[0] == "event":
            events.append(verdict[1])
        elif verdict[0] == "quarantine":
            reasons[verdict[1]] += 1
    policies = {name: Policy(**agreed.model_dump()) for name, agreed in AGREED.items() if name is not None}
    fx = {(day, code): rate for code, known in RATES.items() for day, rate in known.items()}
    found: set[tuple[object, ...]] = set()
    for number in range(-1, wanted.days + 2):
        day = wanted.start + timedelta(days=number)
        for key, values in close(events, policies, fx, day).anomalies.items():
            found.add((day, *key, values["amount_at_risk_usd"]))
    return found, reasons


@pytest.mark.parametrize("seed", [1, 7, 2026])
def test_the_oracle_finds_exactly_the_planted_truth(seed: int) -> None:
    wanted = spec(seed)
    workload, records = generated(wanted)
    found, reasons = found_by_oracle(wanted, records)
    planted = set(workload.planned.truth)
    assert len(planted) == len(workload.planned.truth)
    assert {"missed": planted - found, "unplanned": found - planted} == {"missed": set(), "unplanned": set()}
    assert reasons == workload.planned.poison


@pytest.mark.parametrize("case", plan.CASES, ids=lambda case: case.__name__)
def test_each_case_alone_is_what_it_says(case: plan.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CASES", {case: 50_000})
    wanted = spec(activities=60)
    workload, records = generated(wanted)
    found, _ = found_by_oracle(wanted, records)
    assert found == set(workload.planned.truth)
    assert bool(found) == (case.__module__ == "jobs.ingest.breaks")


def test_the_same_seed_gives_the_same_records_and_another_others() -> None:
    (one, first), (two, second), (_, third) = generated(spec()), generated(spec()), generated(spec(seed=8))
    assert first == second
    assert one.planned == two.planned
    assert first != third


def test_every_kind_is_planted_every_day_and_every_reason_of_poison() -> None:
    workload, records = generated(spec(activities=100))
    for number in range(3):
        day = START + timedelta(days=number)
        assert {kind for when, _, _, kind, _ in workload.planned.truth if when == day} == KINDS
    reasons = {code for codes in workload.planned.poison for code in codes}
    assert reasons >= {"MALFORMED_JSON", "UNKNOWN_CURRENCY", "TOO_LARGE", "EVENT_TIME_IN_FUTURE", "PUBLISHED_IN_FUTURE"}
    assert reasons >= {f"MISSING_FIELD:{name}" for name in poison.REQUIRED}
    assert reasons >= {f"INVALID_FIELD:{name}" for name in (*poison.REQUIRED, "eventId")}
    assert sum(workload.planned.records.values()) == len(records)


def test_records_come_in_the_order_of_publication_and_none_after_the_given_time() -> None:
    end = midnight_ms(START + timedelta(days=3))
    workload, records = generated(spec(until_ms=end))
    times = [record.published_ms for record in records]
    assert times == sorted(times)
    assert times[-1] < end
    assert found_by_oracle(spec(until_ms=end), records)[0] == set(workload.planned.truth)


def test_suppliers_are_of_skewed_sizes() -> None:
    _, records = generated(spec(activities=2_000))
    values = [record.value or b"" for record in records]
    sizes = {name: sum(f'"{name}"'.encode() in value for value in values) for name in AGREED}
    assert sizes["SUP-001"] > 3 * sizes["SUP-005"] > 0


def test_a_few_activities_are_enough_to_run() -> None:
    workload, _ = generated(spec(activities=1))
    assert workload.planned.activities == 3


def test_times_are_written_as_the_contract_has_them() -> None:
    when = midnight_ms(START) + 1
    assert iso(when) == "2026-10-15T00:00:00.001Z"
    assert iso(when, 330) == "2026-10-15T05:30:00.001+05:30"
    assert iso(when, -210) == "2026-10-14T20:30:00.001-03:30"
    assert AGREED["SUP-005"].allowed_skew * 1_000 > LONGEST_SKEW_MS


@pytest.mark.parametrize(
    ("start", "events", "says"),
    [
        (date(2026, 11, 18), 100, "ends on 2026-11-20, which is not over yet"),
        (None, 5, "give at least 6"),
    ],
)
def test_what_cannot_be_generated_is_refused(
    start: date | None,
    events: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path))
    with pytest.raises(UserError, match=says):
        spec_in_force(Settings(), events, 7, 3, start, 30, NOW)


def test_by_default_yesterday_is_the_last_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path))
    assert spec_in_force(Settings(), 600, 7, 3, None, 30, NOW).start == date(2026, 11, 17)


def test_a_truth_that_cannot_be_written_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Mock()
    monkeypatch.setattr("jobs.ingest.generate.Sender", sent)
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path))
    spec = spec_in_force(Settings(), 600, 7, 3, None, 30, NOW)
    with pytest.raises(UserError, match=rf"The truth cannot be written to {tmp_path}: Is a directory") as caught:
        run(Settings(), spec, 0, tmp_path)
    assert (caught.value.exit_code, sent.return_value.send.called) == (2, False)


def test_without_a_broker_it_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.ingest.produce._PATIENCE_SECONDS", 0.5)
    monkeypatch.setenv("RECO_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"No Kafka broker answers at 127.0.0.1:1 .*`reco up`") as caught:
        Sender(Settings())
    assert caught.value.exit_code == FAILED
