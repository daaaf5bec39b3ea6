"""A backup is consistent, takes each file once, and a restored lake has the same rows at the same versions."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.cli.main import main
from jobs.common.errors import UserError
from jobs.common.lake import open_table
from jobs.common.settings import Lake, Settings
from jobs.maintain.backup import backup
from jobs.maintain.main import maintain
from jobs.maintain.points import copy
from jobs.maintain.restore import restore
from tests.daily import small_lake
from tests.daily.small_lake import DAY
from tests.maintain.test_maintain import closed, grown, rows, writing


def lake(root: Path) -> Settings:
    return Settings(lake=Lake(root=str(root)))


def version(settings: Settings, name: str = "activity") -> int:
    table = open_table(settings, name)
    assert table is not None
    return table.version()


def test_each_point_comes_back_as_it_was(tmp_path: Path) -> None:
    settings = grown(tmp_path / "lake", 5)
    dest = str(tmp_path / "copy")
    closed(settings, DAY, version(settings))
    pinned = rows(settings)
    first = backup(settings, dest, datetime.now(UTC))
    between = datetime.now(UTC)
    small_lake.append(settings, small_lake.pair("BK-NEXT"), 50_000)
    maintain(settings, datetime.now(UTC), vacuum_hours=0)
    small_lake.append(settings, small_lake.pair("BK-LAST"), 60_000)
    second = backup(settings, dest, datetime.now(UTC))
    assert first.kept == 0
    assert second.kept > 0
    assert second.files < first.files + second.kept

    for number, wanted in ((1, pinned), (2, rows(settings))):
        back = lake(tmp_path / f"back{number}")
        assert restore(back, dest, number=number) == (first, second)[number - 1].point.versions
        assert rows(back) == wanted
        assert rows(back, first.point.versions["activity"]) == pinned
    back = lake(tmp_path / "back-at")
    assert restore(back, dest, at=between)["activity"] == first.point.versions["activity"]
    assert rows(back) == pinned
    small_lake.append(back, small_lake.pair("BK-OTHERWISE"), 70_000)
    with pytest.raises(UserError, match="a history of silver/activity that this lake does not have"):
        backup(back, dest, datetime.now(UTC))


def test_a_restore_that_was_killed_is_completed_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, dest, back = grown(tmp_path / "lake", 3), str(tmp_path / "copy"), lake(tmp_path / "back")
    closed(settings, DAY, version(settings))
    backup(settings, dest, datetime.now(UTC))
    small_lake.append(settings, small_lake.pair("BK-NEXT"), 50_000)
    backup(settings, dest, datetime.now(UTC))
    calls: list[object] = []

    def killed(*words: object) -> int:
        calls.append(words)
        if len(calls) > 2:  # one table is there, of the next one the files without a log
            raise KeyboardInterrupt
        return copy(*words)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr("jobs.maintain.restore.copy", killed)
        with pytest.raises(KeyboardInterrupt):
            restore(back, dest, number=1)
    with pytest.raises(UserError, match=r"of another point into .* was broken off"):
        restore(back, dest)
    versions = restore(back, dest, number=1)
    assert {name: version(back, name) for name in versions} == versions
    with pytest.raises(UserError, match="is not empty"):
        restore(back, dest, number=1)


def test_closes_never_point_beyond_a_backup_that_is_made_beside_jobs(tmp_path: Path) -> None:
    settings = grown(tmp_path / "lake", 3)
    dest = str(tmp_path / "copy")
    with writing(settings):
        for number in range(3):
            closed(settings, DAY + timedelta(days=number), version(settings))
            done = backup(settings, dest, datetime.now(UTC))
            back = lake(tmp_path / f"back{number}")
            restore(back, dest, number=done.point.number)
            assert version(back, "closes") == version(settings, "closes")


def test_what_cannot_be_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, dest = grown(tmp_path / "lake", 3), tmp_path / "copy"
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)

    def refused(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*words])
        assert end.value.code in (1, 2)
        return capsys.readouterr().err

    assert "lie in each other" in refused("backup", f"{settings.lake.root}/copy")
    for place in ("b k", "bücher"):
        told = refused("backup", str(tmp_path / place))
        assert told.startswith(f"DEST: the folder {tmp_path / place} has ")
        assert "give a folder whose path has only letters a to z" in told
        assert not (tmp_path / place).exists()
        assert refused("restore", str(tmp_path / place)).startswith(f"SRC: the folder {tmp_path / place} has ")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("mine")
    assert "is no backup and not empty" in refused("backup", str(tmp_path / "full"))
    with pytest.raises(SystemExit, match="0"):
        main(["backup", str(dest), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["number"], told["at"][-1]) == (1, "Z")
    told = refused("backup", "/proc/none")
    assert "The place /proc/none cannot be used: " in told
    assert told.endswith("; give a folder that this user may read and write.\n")
    assert "is not empty: nothing is overwritten" in refused("restore", str(dest))
    monkeypatch.setenv("RECO_LAKE__ROOT", str(tmp_path / "back"))
    assert "is no backup, or none that came to its end" in refused("restore", str(tmp_path / "nowhere"))
    assert "no backup 7" in refused("restore", str(dest), "--version", "7")
    assert "does not say its zone" in refused("restore", str(dest), "--at", "2026-03-10T12:00:00")
    assert "there was no table yet" in refused("restore", str(dest), "--at", "2020-03-10T12:00:00Z")
    shutil.rmtree(next((dest / "silver" / "activity").glob("event_date=*")))
    assert "is not whole" in refused("restore", str(dest))
    assert not (tmp_path / "back").exists()
