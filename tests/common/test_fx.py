"""FX files: their errors, and the store."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from jobs.common import fx
from jobs.common.currencies import minor_units
from jobs.common.errors import UserError
from jobs.common.settings import Lake, Settings

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
HEADER = "rate_date,currency,usd_per_unit\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(lake=Lake(root=str(tmp_path / "lake")))


def write(folder: Path, rows: str, header: str = HEADER) -> Path:
    path = folder / "fx.csv"
    path.write_text(header + rows, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("rows", "line", "message"),
    [
        ("2026-03-09,XAU,1", 2, "currency: 'XAU' is no ISO 4217 currency"),
        ("2026-03-09,eur,1", 2, "currency: 'eur'"),
        ("2026-03-09,EUR,1\n2026-02-29,EUR,1", 3, "rate_date: must be a date like 2026-03-09, not '2026-02-29'"),
        ("20260309,EUR,1", 2, "rate_date: must be a date"),
        ("2026-03-09,EUR,0", 2, "usd_per_unit: must be a number over 0"),
        ("2026-03-09,EUR,-1", 2, "usd_per_unit: must be a number over 0"),
        ("2026-03-09,EUR,1e2", 2, "usd_per_unit: must be a number over 0"),
        ("2026-03-09,EUR,NaN", 2, "usd_per_unit: must be a number over 0"),
        ("2026-03-09,EUR,100000", 2, "usd_per_unit: must be a number over 0 and under 100,000"),
        ("2026-03-09,EUR,1.1234567890123", 2, "usd_per_unit: must have at most 12 decimals, not 13"),
        ("2026-03-09,USD,1.1", 2, "usd_per_unit: one USD is 1 USD, not 1.1"),
        ("2026-03-09,EUR", 2, "the line must have 3 columns, not 2"),
        ("2026-03-09,EUR,1\n2026-03-09,EUR,1", 3, "a second rate of EUR for 2026-03-09, the first is on line 2"),
        ("2026-03-18,EUR,1\n2026-03-09,EUR,1", 2, "no rate of EUR between 2026-03-09 (line 3) and 2026-03-18, 9 days"),
        ('2026-03-09,"EUR', 2, "this is not CSV"),
    ],
)
def test_each_mistake_names_file_line_and_column(tmp_path: Path, rows: str, line: int, message: str) -> None:
    path = write(tmp_path, rows)
    with pytest.raises(UserError) as caught:
        fx.parse_rates(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r":1: the header must be rate_date,currency,usd_per_unit, not a,b"):
        fx.parse_rates(write(tmp_path, "", "a,b\n"))
    with pytest.raises(UserError, match="not empty"):
        fx.parse_rates(write(tmp_path, "", ""))
    with pytest.raises(UserError, match="no rates under its header"):
        fx.parse_rates(write(tmp_path, ""))
    with pytest.raises(UserError, match="There is no FX file"):
        fx.parse_rates(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        fx.parse_rates(tmp_path / "b.csv")


def test_seven_days_apart_usd_at_one_and_the_smallest_rate_are_legal(tmp_path: Path) -> None:
    rows = "2026-03-09,EUR,99999.999999999999\n2026-03-16,EUR,0.000000000001\n2026-03-01,USD,1.0\n2026-03-30,USD,1\n"
    with pytest.raises(UserError, match="no rate of USD"):
        fx.parse_rates(write(tmp_path, rows))
    byte_order_mark = "\N{ZERO WIDTH NO-BREAK SPACE}"
    found = fx.parse_rates(write(tmp_path, rows.replace("2026-03-30,USD,1\n", "\n"), byte_order_mark + HEADER))
    assert [rate.usd_per_unit for rate in found] == [Decimal("99999.999999999999"), Decimal("0.000000000001"), 1]


def test_a_new_value_is_a_correction_and_the_highest_version_holds(settings: Settings, tmp_path: Path) -> None:
    assert fx.current_rates(settings).is_empty()
    assert fx.load(settings, write(tmp_path, "2026-03-09,EUR,1.08\n2026-03-10,EUR,1.09\n"), NOW) == 1
    assert fx.load(settings, write(tmp_path, "2026-03-10,EUR,1.090\n"), NOW) == 1
    assert fx.load(settings, write(tmp_path, "2026-03-10,EUR,1.10\n"), NOW) == 2
    assert fx.load(settings, write(tmp_path, "2026-03-10,EUR,1.09\n"), NOW) == 3
    found = fx.current_rates(settings).select("rate_date", "usd_per_unit", "fx_version").rows()
    assert found == [(date(2026, 3, 9), Decimal("1.08"), 1), (date(2026, 3, 10), Decimal("1.09"), 3)]


def test_a_wrong_file_loads_nothing(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        fx.load(settings, write(tmp_path, "2026-03-09,EUR,1\n2026-03-09,XXX,1\n"), NOW)
    assert not Path(settings.table_path("fx_rates")).exists()


def test_the_sample_loads(settings: Settings) -> None:
    assert fx.load(settings, Path(__file__).parents[2] / "conf" / "fx.csv", NOW) == 1


def test_minor_units_are_isos() -> None:
    units = minor_units()
    assert (units["USD"], units["JPY"], units["KWD"], units["CLF"]) == (2, 0, 3, 4)
    assert not {"XAU", "XXX", "XTS", "XDR", "DEM", "BTC"} & set(units)
    units.clear()
    assert minor_units()
