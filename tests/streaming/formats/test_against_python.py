"""Money and times against plain Python: Decimal and zoneinfo say what each text is worth."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.common.currencies import minor_units
from jobs.streaming.formats_in_force import usable
from tests.streaming.formats.cases import JSON_FORMAT, NOW
from tests.streaming.formats.reading import Record, definitions, read

ZONES = ("Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "+05:45")
_BATCH = 400


def money_of(text: str, currency: str) -> int | None:
    """Minor units, where the amount is exact in them and from 0 to 10^15."""
    try:
        minor = Decimal(text).scaleb(minor_units()[currency])
    except InvalidOperation:
        return None
    return int(minor) if minor == minor.to_integral_value() and 0 <= minor <= 10**15 else None


def moment_of(clock: datetime, zone: str) -> datetime | None:
    """The moment in UTC at which a wall's clock shows this, the first of two; None where it never does."""
    place = datetime.fromisoformat(f"2026-01-01T00:00:00{zone}").tzinfo if zone[0] in "+-" else ZoneInfo(zone)
    moment = clock.replace(tzinfo=place, fold=0).astimezone(UTC)
    return moment if moment.astimezone(place).replace(tzinfo=None) == clock else None


def clocks(random: Random, zone: str) -> datetime:
    """A time on a clock, often near one that comes twice or never."""
    clock = datetime(2000, 1, 1) + timedelta(seconds=random.randrange(26 * 366 * 86_400))  # noqa: DTZ001
    if zone[0] in "+-" or random.random() < 0.3:
        return clock
    place, at = ZoneInfo(zone), datetime(clock.year, 1, 1, tzinfo=UTC)
    changes = []
    for day in range(366):
        then = at + timedelta(days=day)
        if then.astimezone(place).utcoffset() != (then + timedelta(days=1)).astimezone(place).utcoffset():
            changes.append(then)
    if not changes:
        return clock
    near = random.choice(changes).astimezone(place).replace(tzinfo=None, minute=0, second=0)
    return near + timedelta(minutes=random.randrange(-60, 36 * 60))


@settings(max_examples=1, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_money_and_times_are_pythons(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    random = Random(seed)
    folder = tmp_path_factory.mktemp("zones")
    texts = {
        f"z{number}": JSON_FORMAT.replace("Europe/Paris", zone)
        .replace("yyyy HH:mm", "yyyy HH:mm:ss")
        .replace("+0", '"+0')
        for number, zone in enumerate(ZONES)
    }
    texts = {name: text.replace('"+05:45}', '"+05:45"}') for name, text in texts.items()}
    formats = usable(spark, definitions(folder, texts), {name: name for name in texts})
    assert formats.broken == {}
    records: list[Record] = []
    expected = []
    for _ in range(_BATCH):
        number = random.randrange(len(ZONES))
        clock = clocks(random, ZONES[number])
        currency = random.choice(("USD", "JPY", "KWD", "CLF", "EUR"))
        places = random.randrange(6)
        amount = f"{random.randrange(10 ** random.randrange(1, 19))}"
        if places:
            amount += "." + f"{random.choice((0, random.randrange(10**places))):0{places}}"
        written = amount if random.random() < 0.5 else json.dumps(amount)
        at = clock.strftime("%d/%m/%Y %H:%M:%S")
        value = f'{{"ref":"R","state":"ok","at":"{at}","cur":"{currency}","sum":{written}}}'
        records.append(("SUPPLIER", value.encode(), [("supplierId", f"z{number}".encode())]))
        expected.append((value, money_of(amount, currency), moment_of(clock, ZONES[number])))
    assert any(moment is None for _, _, moment in expected)
    for row, (value, money, moment) in zip(read(spark, records, formats), expected, strict=True):
        reasons = []
        if moment is not None and moment > NOW + timedelta(minutes=5):
            reasons.append("EVENT_TIME_IN_FUTURE")
        reasons += ["INVALID_FIELD:amountMinor"] if money is None else []
        reasons += ["INVALID_FIELD:eventTime"] if moment is None else []
        assert list(row["reasons"] or []) == reasons, value
        if not reasons:
            assert (row["amountMinor"], row["eventAt"].astimezone(UTC)) == (money, moment), value
