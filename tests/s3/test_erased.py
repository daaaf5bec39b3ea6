"""`reco erase` on S3: within its policy, and also where the store fails every fifth request."""

from datetime import UTC, datetime

import pytest

from jobs.common.lake import open_table, read
from jobs.common.marks import erased_mark
from jobs.common.settings import Lake, Settings
from jobs.erase.main import Report, erase
from jobs.erase.wanted import Selector, Wanted
from tests.cli.lake_rows import bronze, event, put
from tests.erase.partitioned import make_tables
from tests.s3 import iam
from tests.s3.conftest import BUCKET
from tests.s3.proxy import Faults

ANN, BOB = (f'{{"guest":{{"email":"{name}@example.org"}}}}'.encode() for name in ("ann", "bob"))


def filled(root: str) -> Settings:
    """Two records of ANN and one of BOB in bronze, one of ANN in quarantine."""
    settings = Settings(lake=Lake(root=f"s3a://{BUCKET}/{root}"))
    make_tables(settings, "activity_raw", "quarantine", "activity")
    rows = [bronze(offset, value) for offset, value in enumerate((ANN, BOB, ANN))]
    put(settings, "activity_raw", rows)
    put(settings, "quarantine", [rows[2] | {"reasons": ["MALFORMED_JSON"]}])
    put(
        settings, "activity", [event(offset) | {"supplier_id": "S", "activity_id": f"BK-{offset}"} for offset in (0, 1)]
    )
    return settings


OF_ANN = Wanted(Selector.FIELD, frozenset({"ann@example.org"}), ("guest.email",))
OF_ONE = Wanted(Selector.ACTIVITY, activities=frozenset({("S", "BK-1")}), keys={"BK-1": frozenset({"BK-1"})})


def erased(settings: Settings, wanted: Wanted, request: str) -> Report:
    return erase(settings, wanted, request, "asked by the person", "vera", datetime.now(UTC))


@pytest.mark.long
@pytest.mark.parametrize("percent", [1, 5, 20])
def test_a_person_is_erased_where_the_store_fails(faults: Faults, percent: int) -> None:
    settings = filled(f"erased{percent}")
    faults.spoil(percent)
    report = erased(settings, OF_ANN, "DSR-17")
    faults.spoil(0)
    assert (report.bronze_total, report.quarantine_total) == (2, 1)
    rows = read(open_table(settings, "activity_raw"), "activity_raw").sort("offset")
    assert [erased_mark(value) is not None for value in rows["value"]] == [True, False, True]
    assert rows["value"][1] == BOB
    noted = read(open_table(settings, "erasures"), "erasures").sort("at")
    assert noted["state"].to_list() == ["BEGUN", "DONE"]


@pytest.mark.long  # `make test-s3` runs it
def test_the_policy_is_what_erasing_needs(faults: Faults) -> None:
    settings = filled("erase-iam")
    faults.calls()
    assert erased(settings, OF_ANN, "DSR-17").bronze_records == 2
    assert erased(settings, OF_ONE, "DSR-18").bronze_records == 1
    told = faults.calls()
    assert iam.refused("erase", "erase-iam", told) == set()
    assert iam.unused("erase", "erase-iam", told) == []
