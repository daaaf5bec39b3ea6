"""What needs no JVM, on S3: tables, maintenance, backup, also where the store fails every twentieth request."""

from datetime import UTC, datetime

import pytest

from jobs.cli.main import main
from jobs.common.lake import missing_file, open_table
from jobs.common.ownership import claim
from jobs.common.settings import Lake, Settings
from jobs.common.storage import Storage
from jobs.maintain.backup import backup
from jobs.maintain.main import maintain
from jobs.maintain.restore import restore
from tests.daily import small_lake
from tests.maintain.test_maintain import grown, rows
from tests.s3 import iam
from tests.s3.conftest import BUCKET
from tests.s3.proxy import Faults


@pytest.mark.parametrize("percent", [5, *[pytest.param(n, marks=pytest.mark.long) for n in (1, 20)]])
def test_nothing_is_lost_or_doubled_where_the_store_fails(faults: Faults, percent: int) -> None:
    root = f"s3a://{BUCKET}/faults{percent}"
    settings = grown(f"{root}/lake", 4)
    before = rows(settings)
    faults.spoil(percent)
    claim(settings, ["activity"])
    maintain(settings, datetime.now(UTC), vacuum_hours=0)
    number = backup(settings, f"{root}/copy", datetime.now(UTC)).point.number
    back = Settings(lake=Lake(root=f"{root}/back"))
    restore(back, f"{root}/copy", number=number)
    faults.spoil(0)
    assert sum(faults.done().values()) > 0
    assert rows(settings) == before
    assert rows(back) == before
    table, path = open_table(back, "activity"), back.table_path("activity")
    assert table is not None
    assert missing_file(path, table) is None
    store = Storage(path)
    store.remove([one.path for one in store.files() if one.path.endswith(".parquet")])
    assert (missing_file(path, table) or "").startswith(f"{path}/event_date=")


def test_the_policies_are_what_the_commands_need(faults: Faults) -> None:
    settings = grown(f"s3a://{BUCKET}/iam/lake", 3)
    root, copy = "iam/lake", "iam/copy"
    faults.calls()
    maintain(settings, datetime.now(UTC), vacuum_hours=0)
    told = faults.calls()
    assert iam.refused("maintain", root, told) == set()
    assert iam.unused("maintain", root, told) == []
    backup(settings, f"s3a://{BUCKET}/{copy}", datetime.now(UTC))
    assert [need for need in iam.refused("backup-source", root, faults.calls()) if not need[1].startswith(copy)] == []


def test_a_store_that_cannot_be_used_is_named(
    faults: Faults, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", "s3a://no-such-bucket/lake")
    with pytest.raises(SystemExit, match="1"):
        main(["maintain"])
    said = capsys.readouterr().err
    assert "s3a://no-such-bucket/lake" in said
    assert "Traceback" not in said
    assert small_lake.SUPPLIER not in said
