"""`reco formats check`: the worked examples, and what it says of records that are no events."""

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from jobs.common.errors import UserError
from jobs.common.formats.file import read_format
from jobs.streaming import formats_check
from jobs.streaming.formats_check import app, examine
from jobs.streaming.formats_sample import Sample, read_samples

CONF = Path(__file__).parents[3] / "conf" / "formats"
EXAMPLES = {"bedbank": "bedbank.jsonl", "ota-csv": "ota-csv.csv", "channel-manager": "channel-manager"}


@pytest.fixture
def shell(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Commands use the session that is there, and leave it."""
    monkeypatch.setattr(formats_check, "spark_session", lambda *_, **__: spark)
    monkeypatch.setattr(type(spark), "stop", lambda _: None)
    return CliRunner()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_worked_examples(spark: SparkSession, name: str) -> None:
    format_, _ = read_format(CONF / f"{name}.yaml")
    found = examine(spark, format_, read_samples(format_, CONF / "samples" / EXAMPLES[name]), "SUP-9")
    assert found.events == len(found.records) > 2
    assert (found.unmatched, found.unmapped) == ([], {})
    first = found.records[0]["event"]
    assert first["supplierId"] == "SUP-9"
    assert (first["activityId"], first["amountMinor"], first["currency"]) == {
        "bedbank": ("102-4816253", 12345, "EUR"),
        "ota-csv": ("PAR01-D-5512", 123450, "EUR"),
        "channel-manager": ("CM:41:ZX81", 21900, "USD"),
    }[name]
    assert first["eventTime"].isoformat()[:19] == "2026-03-09T10:00:00"


@pytest.mark.parametrize(
    ("name", "text", "records"),
    [
        ("bedbank", '{"a": 1}\n{"a": 2}\n', [b'{"a": 1}', b'{"a": 2}']),
        ("bedbank", '[{"a": 1}, {"a": 2}]', [b'{"a": 1}', b'{"a": 2}']),
        ("ota-csv", "a;b\r\n", [b"a;b"]),
        ("ota-csv", "hotel;dossier;operation;etat;montant;devise;date;heure;rang\r\na;b", [b"a;b"]),
    ],
)
def test_a_byte_order_mark_is_the_files(tmp_path: Path, name: str, text: str, records: list[bytes]) -> None:
    (tmp_path / "sample").write_bytes(b"\xef\xbb\xbf" + text.encode())
    format_, _ = read_format(CONF / f"{name}.yaml")
    assert [sample.value for sample in read_samples(format_, tmp_path / "sample")] == records


def test_the_first_time_there_is_is_one(spark: SparkSession) -> None:
    format_, _ = read_format(CONF / "bedbank.yaml")
    first, *_ = read_samples(format_, CONF / "samples" / EXAMPLES["bedbank"])
    dawn = first._replace(value=first.value.replace(b"09/03/2026", b"01/01/0001"))
    assert dawn.value != first.value
    assert examine(spark, format_, [dawn], "SUP-9").records[0]["event"]["eventTime"].year == 1


def test_what_is_no_event_is_told_with_its_reasons_and_the_coverage(shell: CliRunner, tmp_path: Path) -> None:
    lines = (CONF / "samples" / "bedbank.jsonl").read_text().splitlines()
    bad = json.loads(lines[0])
    bad["booking"]["state"] = "HELD"
    del bad["message"]["id"]
    sample = tmp_path / "s.jsonl"
    sample.write_text("\n".join([json.dumps(bad), "", '{"broken":']) + "\n")
    arguments = ["check", str(CONF / "bedbank.yaml"), "--sample", str(sample), "--supplier", "S"]
    told = shell.invoke(app, [*arguments, "--json"])
    assert told.exit_code == 1, told.output
    found: dict[str, Any] = json.loads(told.stdout)
    assert found["records"] == [
        {"place": "s.jsonl:1", "kind": "QUARANTINE", "reasons": ["INVALID_FIELD:status"]},
        {"place": "s.jsonl:3", "kind": "QUARANTINE", "reasons": ["MALFORMED_JSON"]},
    ]
    assert found["coverage"] == {
        "records": 2,
        "events": 0,
        "unmatched": ["$.message.id"],
        "unmapped": {"status": ["HELD"]},
    }
    shown = shell.invoke(app, arguments)
    assert shown.exit_code == 1
    assert "0 of 2 records became events." in shown.stdout
    assert "Words of status that the map does not have: HELD." in shown.stdout
    assert "Paths that no record has: $.message.id." in shown.stdout


def test_wrong_usage_is_told_before_any_spark(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("version: 1")
    (tmp_path / "empty.jsonl").write_text("\n")
    good = str(CONF / "bedbank.yaml")
    for arguments, message in (
        ([str(tmp_path / "f.yaml"), "--sample", good], r"f\.yaml:1: payload: is missing"),
        ([good, "--sample", str(tmp_path / "none")], "cannot be read: No such file"),
        ([good, "--sample", str(tmp_path / "empty.jsonl")], "has no record"),
        ([good, "--sample", str(CONF / "samples" / "bedbank.jsonl"), "--supplier", ""], "1 to 128 characters"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)
        assert caught.value.exit_code == 2
    assert "Example: reco formats check" in CliRunner().invoke(app, ["check", "--help"]).stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1.0}\r\n\n{"a":2}\n', ['{"a":1.0}', '{"a":2}']),
        ('[{"a":1.10}, {"a" : "é"}\n]', ['{"a":1.10}', '{"a" : "é"}']),
        ('{\n "a": 1\n}\n', ['{\n "a": 1\n}']),
        ('[{"a":1}', ['[{"a":1}']),
        ('{"a":1}\nnonsense', ['{"a":1}', "nonsense"]),
    ],
)
def test_json_samples_are_kept_as_they_are_written(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "s.json").write_bytes(text.encode())
    format_, _ = read_format(CONF / "bedbank.yaml")
    assert [sample.value.decode() for sample in read_samples(format_, tmp_path / "s.json")] == expected
    assert [sample.value.decode() for sample in read_samples(format_, tmp_path)] == expected


def test_csv_samples_may_have_a_header(tmp_path: Path) -> None:
    format_, _ = read_format(CONF / "ota-csv.yaml")
    assert format_.csv
    row = "H;1;RES;OK;1,00;EUR;09/03/2026;11:00;1"
    header = ";".join(format_.csv.columns)
    for text, place in ((f"{header}\r\n{row}\r\n", "s.csv:2"), (row, "s.csv:1")):
        (tmp_path / "s.csv").write_text(text, newline="")
        assert read_samples(format_, tmp_path / "s.csv") == [Sample(place, row.encode())]
