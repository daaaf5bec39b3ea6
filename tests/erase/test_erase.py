"""One person's payloads go, from the files too; the law, the counts and all other records stay."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.main import main
from jobs.common import lake
from jobs.common.errors import UserError
from jobs.common.lake import open_table, read
from jobs.common.law import measure
from jobs.common.marks import erased_mark
from jobs.common.privacy import Privacy, pseudonym
from jobs.common.settings import Lake, Settings
from jobs.erase import tables
from jobs.erase.main import erase, wanted_of
from jobs.maintain.main import maintain
from tests.cli.lake_rows import BEAT, bronze, event, put
from tests.erase.partitioned import make_tables

NOW = datetime(2026, 11, 26, 4, tzinfo=UTC)
KEY = "k" * 32
ANN, BOB = "ann.née@example.org", "bob@example.org"
MASKED = pseudonym("old", KEY.encode(), ANN)
SUPPLIER = "SUP-1"


def told(guest: Any, **more: Any) -> bytes:
    return json.dumps({"activityId": "BK-1", "supplierId": SUPPLIER, "guest": guest, **more}).encode()


#: Bronze by offset; those of ANN are 1 to 8.
RECORDS: dict[int, bytes | None] = {
    0: told({"email": BOB}),
    1: told({"email": ANN}),
    2: json.dumps({"guest": {"email": ANN}}, ensure_ascii=False).encode(),
    3: told({"email": MASKED}),
    4: told([{"name": "x"}, {"email": f" {ANN} "}]),
    5: told(f"Ann <{ANN}>"),
    6: b'{"guest":{"email":"' + BOB.encode() + b'"},"guest":{"email":"' + ANN.encode() + b'"}}',
    7: b"not json, but of " + ANN.encode(),
    8: json.dumps({"heartbeat": True, "guest": {"email": ANN}}).encode(),
    9: BEAT,
    10: None,
    11: told({"email": BOB}, note=f"see {ANN}"),
    12: told({"email": "\\"}),
}
QUARANTINED = (6, 7, 10, 12)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("RECO_TEST_KEY", KEY)
    keys = {"new": "env:RECO_TEST_KEY", "old": "env:RECO_TEST_KEY"}
    made = Settings(lake=Lake(root=str(tmp_path / "lake")), privacy=Privacy(keys=keys))
    make_tables(made, "activity_raw", "quarantine", "activity")
    rows = []
    for offset, value in RECORDS.items():
        row = bronze(offset, value) | {"ingest_date": date(2026, 3, 9 + offset % 2), "key": b"BK-1"}
        rows.append(row | {"headers": [{"key": "supplierId", "value": SUPPLIER.encode()}] if offset == 7 else None})
    put(made, "activity_raw", rows)
    put(made, "quarantine", [rows[offset] | {"reasons": ["MALFORMED_JSON"]} for offset in QUARANTINED])
    homes = [offset for offset in RECORDS if offset not in (*QUARANTINED, 8, 9)]
    put(
        made, "activity", [event(offset) | {"supplier_id": SUPPLIER, "activity_id": f"BK-{offset}"} for offset in homes]
    )
    return made


def value_file(folder: Path, *values: str) -> Path:
    file = folder / "values.txt"
    file.write_text("\n".join(values))
    return file


def payloads(settings: Settings, name: str) -> dict[int, bytes | None]:
    rows = read(open_table(settings, name), name)
    return dict(zip(rows["offset"], rows["value"], strict=True))


def erased(settings: Settings, name: str) -> list[int]:
    return sorted(offset for offset, value in payloads(settings, name).items() if erased_mark(value))


def ask(settings: Settings, folder: Path, request: str = "DSR-17", *values: str, field: str = "guest.email") -> Any:
    wanted = wanted_of(settings.privacy, [], value_file(folder, *(values or (ANN,))), [field] if field else [], [])
    return erase(settings, wanted, request, "asked by the person", "vera", NOW)


def bytes_of_lake(settings: Settings) -> bytes:
    return b"".join(file.read_bytes() for file in Path(settings.lake.root).rglob("*") if file.is_file())


def test_exactly_the_persons_records_go_and_everything_else_stays(settings: Settings, tmp_path: Path) -> None:
    before = read(open_table(settings, "activity_raw"), "activity_raw").sort("offset")
    report = ask(settings, tmp_path)
    assert (report.bronze_records, report.quarantine_records) == (8, 2)
    assert erased(settings, "activity_raw") == list(range(1, 9))
    assert erased(settings, "quarantine") == [6, 7]
    after = read(open_table(settings, "activity_raw"), "activity_raw").sort("offset")
    kept = [name for name in before.columns if name not in ("value", "headers")]
    assert after.select(kept).equals(before.select(kept))
    left = [offset for offset in RECORDS if not 1 <= offset <= 8]
    assert after.filter(~after["offset"].is_between(1, 8)).equals(before.filter(~before["offset"].is_between(1, 8)))
    assert {offset: payloads(settings, "activity_raw")[offset] for offset in left} == {o: RECORDS[o] for o in left}
    values = payloads(settings, "activity_raw")
    assert json.loads(values[7] or b"")["supplierId"] == SUPPLIER, "whose record it was stays told"
    assert str(erased_mark(values[1])) == "erased on 2026-11-26 by request DSR-17"
    law = measure(settings)
    assert law is not None
    assert law.holds


def test_without_a_field_all_of_a_record_is_looked_at(settings: Settings, tmp_path: Path) -> None:
    ask(settings, tmp_path, field="")
    assert erased(settings, "activity_raw") == [*range(1, 9), 11]


def test_by_pseudonym_and_by_activity(settings: Settings, tmp_path: Path) -> None:
    erase(settings, wanted_of(settings.privacy, [], None, [], [MASKED]), "P-1", "r", "vera", NOW)
    assert erased(settings, "activity_raw") == [3]
    # Of BK-0 silver knows the place; BK-1 is what payloads and keys say.
    erase(settings, wanted_of(settings.privacy, [SUPPLIER, "BK-0"], None, [], []), "A-1", "r", "vera", NOW)
    assert erased(settings, "activity_raw") == [0, 3]
    erase(settings, wanted_of(settings.privacy, [SUPPLIER, "BK-1"], None, [], []), "A-2", "r", "vera", NOW)
    assert erased(settings, "activity_raw") == [0, 1, 3, 4, 5, 7, 11, 12]
    assert erased(settings, "quarantine") == [7, 12]


def test_the_bytes_go_with_the_old_files(settings: Settings, tmp_path: Path) -> None:
    ask(settings, tmp_path, "DSR-17", ANN, field="")
    ways = (ANN.encode(), json.dumps(ANN)[1:-1].encode(), MASKED.encode())
    there = bytes_of_lake(settings)
    assert any(way in there for way in ways), "files of before are still there, or nothing is looked for"
    maintain(settings, datetime.now(UTC), vacuum_hours=0)
    there = bytes_of_lake(settings)
    assert not any(way in there for way in ways)
    assert BOB.encode() in there, "files are not compressed so that nothing could be found"


def test_again_it_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    ask(settings, tmp_path)
    versions = [open_table(settings, name).version() for name in (*tables.NAMES, "erasures")]  # type: ignore[union-attr]
    assert ask(settings, tmp_path).bronze_records == 0
    assert [open_table(settings, name).version() for name in (*tables.NAMES, "erasures")] == versions  # type: ignore[union-attr]
    rows = read(open_table(settings, "erasures"), "erasures").sort("at").to_dicts()
    assert [(row["state"], row["bronze_records"], row["quarantine_records"]) for row in rows] == [
        ("BEGUN", 8, 2),
        ("DONE", 8, 2),
    ]
    assert rows[1]["bronze_version"] == versions[0]
    assert ANN not in str(rows)


def test_a_request_without_records_is_noted_as_done(settings: Settings, tmp_path: Path) -> None:
    ask(settings, tmp_path, "DSR-0", "nobody@example.org")
    (row,) = read(open_table(settings, "erasures"), "erasures").to_dicts()
    assert (row["state"], row["bronze_records"], row["erased_by"]) == ("DONE", 0, "vera")


@pytest.mark.parametrize("stage", ["after the note", "after bronze", "before the last note"])
def test_broken_off_anywhere_it_is_completed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    class KilledError(BaseException):
        pass

    real, done = tables.erase, []

    def killed(settings: Settings, name: str, *others: Any) -> Any:
        if stage == "after the note" or (stage == "after bronze" and name == "quarantine"):
            raise KilledError
        done.append(name)
        found = real(settings, name, *others)
        if len(done) == 4:
            raise KilledError
        return found

    with monkeypatch.context() as patched:
        patched.setattr(tables, "erase", killed)
        with pytest.raises(KilledError):
            ask(settings, tmp_path)
    ask(settings, tmp_path)
    assert (erased(settings, "activity_raw"), erased(settings, "quarantine")) == (list(range(1, 9)), [6, 7])
    last = read(open_table(settings, "erasures"), "erasures").sort("at").to_dicts()[-1]
    assert (last["state"], last["bronze_records"], last["quarantine_records"]) == ("DONE", 8, 2)


def test_beside_a_stream_that_writes_and_maintenance_that_puts_together(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, opened = tables._replace, lake.open_table
    met: list[str] = []

    def meanwhile(settings: Settings, name: str, rows: Any, *others: Any) -> None:
        if not met:
            met.append(name)
            # What it is about to replace is another file by the time that it commits.
            stale = opened(settings, name)
            put(settings, name, [bronze(100, told({"email": BOB})) | {"ingest_date": date(2026, 3, 9)}])
            maintain(settings, datetime.now(UTC), [name])
            monkeypatch.setattr(tables, "open_table", lambda *_: stale)
        try:
            real(settings, name, rows, *others)
        finally:
            monkeypatch.setattr(tables, "open_table", opened)

    monkeypatch.setattr(tables, "_replace", meanwhile)
    ask(settings, tmp_path)
    assert met == ["activity_raw"]
    assert erased(settings, "activity_raw") == list(range(1, 9))
    assert payloads(settings, "activity_raw").keys() == {*RECORDS, 100}


def test_the_command_says_what_it_would_do_and_did(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)
    monkeypatch.setenv("RECO_PRIVACY__KEYS", json.dumps({"old": "env:RECO_TEST_KEY"}))
    monkeypatch.chdir(tmp_path)
    value_file(tmp_path, ANN)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["erase", *words])
        return (int(end.value.code or 0), *capsys.readouterr())

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    # As in a container whose image knows nobody of that number.
    monkeypatch.setattr("getpass.getuser", nameless)
    asked = ("--request", "DSR-17", "--value-file", "values.txt", "--field", "guest.email")
    code, told_, _ = run(*asked, "--dry-run", "--json")
    assert (code, json.loads(told_)["bronze_records"]) == (0, 8)
    assert erased(settings, "activity_raw") == []
    assert open_table(settings, "erasures") is None
    code, told_, _ = run(*asked)
    assert (code, "8 records of bronze and 2 of quarantine erased" in told_) == (0, True), told_
    code, told_, _ = run("--list", "--json")
    assert [row["request"] for row in json.loads(told_)] == ["DSR-17", "DSR-17"]
    assert {row["erased_by"] for row in json.loads(told_)} == {f"uid {os.getuid()}"}
    for words, says in {
        (): "--request must name",
        ("--request", ANN): "--request must name",
        ("--request", "R"): "in one way",
        ("--request", "R", "SUP-1"): "in pairs",
        ("--request", "R", "--person", "x"): "a pseudonym",
        ("--request", "R", "--field", "a", "--person", MASKED): "--field says",
        ("--request", "R", "--value-file", "none.txt"): "cannot be read",
        ("--request", "R", "--value-file", "values.txt", "--reason", f"{ANN} asked"): "stay in the lake",
    }.items():
        code, _, error = run(*words)
        assert (code, says in error) == (2, True), error
        assert ANN not in error
    value_file(tmp_path, "abc")
    assert "shorter than" in run("--request", "R", "--value-file", "values.txt")[2]


def test_jobs_in_the_way_for_ever_are_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_replace", lambda *_: None)
    with pytest.raises(UserError, match="run the same command again"):
        ask(settings, tmp_path)


def test_a_lake_that_is_not_there_is_refused_and_nothing_is_noted(tmp_path: Path) -> None:
    elsewhere = Settings(lake=Lake(root=str(tmp_path / "lake")))
    with pytest.raises(UserError, match=r"neither bronze nor quarantine under .*lake: nothing was looked at"):
        ask(elsewhere, tmp_path)
    assert not (tmp_path / "lake").exists()
