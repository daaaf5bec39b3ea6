"""Format files: each mistake named, what a file resolves to, and the store beside the policies."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.common import policies
from jobs.common.errors import UserError
from jobs.common.formats import store
from jobs.common.formats.file import parse_definition, read_format
from jobs.common.lake import open_table, read
from jobs.common.settings import Formats, Lake, Settings

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
CONF = Path(__file__).parents[2] / "conf"
GOOD = """version: 1
payload: json
fields:
  activityId: {path: $.ref}
  activityType: {constant: BOOKING}
  amountMinor: {path: $.sum, unit: major}
  currency: {constant: EUR}
  status: {path: $.state, map: {ok: PAID}}
  version: {constant: 1}
  eventTime: {path: $.at}
"""
CSV = GOOD.replace("payload: json", "payload: csv\ncsv: {columns: [ref, sum, state, at]}")
AVRO = GOOD.replace("payload: json", "payload: avro\navro: {schema: {type: record, name: R, fields: [%s]}}")
FIELDS = ", ".join(f"{{name: {name}, type: string}}" for name in ("ref", "sum", "state", "at"))


def write(folder: Path, text: str, name: str = "f.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def swap(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "payload: is missing"),
        (swap("version: 1\n", "version: 2\n"), 1, "version: must be 1"),
        (swap("payload: json", "payload: xml"), 2, "payload: must be 'json', 'csv' or 'avro'"),
        (swap("  version: {constant: 1}\n", ""), 3, "fields.version: is missing"),
        (swap("{path: $.ref}", "{pat: $.ref}"), 4, "unknown key; did you mean fields.activityId.path?"),
        (swap("{path: $.ref}", "{}"), 4, "fields.activityId: must have exactly one of path, compose and constant"),
        (swap("{path: $.ref}", "{path: $.ref, constant: x}"), 4, "must have exactly one of"),
        (swap("$.ref", "ref"), 4, "ref is no path; write it like $.booking.ref"),
        (swap("$.ref", "$.a..b"), 4, "$.a..b is no path"),
        (swap("$.ref", "'$.a[x]'"), 4, "is no path"),
        (swap("{path: $.ref}", "{compose: [a, b]}"), 4, "compose: must have a path"),
        (swap("{path: $.ref}", "{path: $.ref, separator: x}"), 4, "separator: is only for compose"),
        (swap("{path: $.ref}", "{path: $.ref, default: ''}"), 4, "default: must have 1 to 128 characters"),
        (swap("{path: $.ref}", "{path: $.ref, default: x, required: true}"), 4, "default: never comes to pass"),
        (swap("{path: $.ref}", "{path: $.ref, required: false}"), 4, "required: cannot be false"),
        (swap("{constant: BOOKING}", "{constant: BUCHUNG}"), 5, "constant: must be one of BOOKING, PAYMENT, REFUND"),
        (swap(", unit: major", ""), 6, "fields.amountMinor.unit: is missing"),
        (swap("unit: major", "unit: euro"), 6, "unit: must be 'major' or 'minor'"),
        (swap("unit: major", "unit: major, default: -1"), 6, "default: must be a whole number from 0 to 10000"),
        (swap("unit: major", "unit: major, default: 0.1"), 6, "default: must be text; put it in quotes"),
        (swap("unit: major", "unit: major, grouping: '.'"), 6, "grouping: must differ from decimal"),
        (swap("EUR", "EURO"), 7, "constant: EURO is no ISO 4217 currency in force"),
        (swap("ok: PAID", "ok: paid"), 8, "map.ok: must be one of BOOKED"),
        (swap("{ok: PAID}", "{}"), 8, "map: must have entries"),
        (swap("constant: 1}", "constant: 0}"), 9, "constant: must be a whole number from 1"),
        (swap("constant: 1}", "constant: 1, pattern: iso}"), 9, "pattern: is not for a constant"),
        (swap("path: $.at", "constant: now"), 10, "constant: a time cannot stand in the file"),
        (swap("$.at", "$.at, pattern: dd/MM/yyyy HH:mm"), 10, "pattern: shows a clock on a wall: say whose"),
        (swap("$.at", "$.at, pattern: dd/MM/YYYY, zone: UTC"), 10, "pattern: YYYY is not supported"),
        (swap("$.at", "$.at, pattern: HH:mm, zone: UTC"), 10, "pattern: must have year, month and day"),
        (swap("$.at", "$.at, pattern: yyyy-MM-dd hh:mm, zone: UTC"), 10, "pattern: must have HH, or hh with a"),
        (swap("$.at", '$.at, pattern: "yyyy-MM-dd\'T", zone: UTC'), 10, "pattern: has a quote or a bracket"),
        (swap("$.at", "$.at, pattern: 'yyyy-MM-dd]HH[', zone: UTC"), 10, "pattern: has a quote or a bracket"),
        (swap("$.at", "$.at, pattern: iso, zone: UTC"), 10, "zone: has no use"),
        (swap("$.at", "$.at, pattern: 'yyyy-MM-dd HH:mm[XXX]'"), 10, "pattern: has an offset that may be left out"),
        (swap("$.at", "$.at, pattern: yyyy-MM-dd XXX, zone: UTC"), 10, "zone: has no use"),
        (swap("$.at", "$.at, pattern: yyyyMMdd, zone: Mars/North"), 10, "zone: Mars/North is no time zone"),
        (swap("$.at", "$.at, pattern: yyyyMMdd, zone: ../etc"), 10, "is no time zone"),
        (swap("payload: json", "payload: csv"), 1, "csv: is missing"),
        (swap("payload: json", "payload: json\ncsv: {columns: [a]}"), 3, "csv: is only for payload: csv"),
        (swap("[ref, sum", "[ref, ref, sum", CSV), 3, "csv.columns: must be at least one name"),
        (swap("columns", "delimiter: ';;', columns", CSV), 3, "csv.delimiter: "),
        (swap("columns", "delimiter: '\"', columns", CSV), 3, "csv.delimiter: must not be a quote"),
        (swap("$.ref", "$.reff", CSV), 5, "$.reff is no column of csv.columns"),
        (swap("$.ref", "$.ref.x", CSV), 5, "is no column"),
        (AVRO % "{name: ref, type: string}", 7, "$.sum begins with no field of avro.schema"),
        (swap("type: record", "type: map", AVRO % FIELDS), 3, "avro.schema: must be an Avro schema of a record"),
        (swap("type: string", "type: text", AVRO % FIELDS), 3, "avro.schema: is no Avro schema: UnknownType"),
        (swap("avro: {", "avro: {skip_bytes: 65, ", AVRO % FIELDS), 3, "avro.skip_bytes: "),
    ],
)
def test_each_mistake_names_file_line_and_key(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_format(path)
    assert message in str(caught.value)
    told = next(sentence for sentence in str(caught.value).splitlines() if message in sentence)
    assert told.startswith(f"{path}:{line}: ")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("EUR", "EURO").replace("$.ref", "ref").replace("ok: PAID", "ok: paid")
    with pytest.raises(UserError) as caught:
        read_format(write(tmp_path, text))
    assert [sentence.split(":")[1] for sentence in str(caught.value).splitlines()] == ["4", "7", "8"]


@pytest.mark.parametrize("text", [GOOD, CSV, AVRO % FIELDS])
def test_what_is_stored_is_what_the_file_says(tmp_path: Path, text: str) -> None:
    found, file_hash = read_format(write(tmp_path, text))
    assert parse_definition(found.resolved()) == found
    commented, other = read_format(write(tmp_path, "# a comment\n" + text + "description: of no effect\n"))
    assert commented.resolved() == found.resolved()
    assert len(file_hash) == len(other) == 64
    assert file_hash != other


def test_a_definition_of_another_time_is_no_format() -> None:
    for text in ('{"version":2}', "{", '{"version":1,"payload":"json"}'):
        with pytest.raises(ValueError, match=r"validation|JSON"):
            parse_definition(text)


@pytest.mark.parametrize("name", ["bedbank", "ota-csv", "channel-manager"])
def test_the_worked_examples_are_right_and_not_in_force(name: str) -> None:
    assert read_format(CONF / "formats" / f"{name}.yaml")[0].description
    assert policies.parse_policies(CONF / "policies.yaml").formats == {}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(lake=Lake(root=str(tmp_path / "lake")))


def policy(folder: Path, text: str = "suppliers: {A: {format: one}, B: {grace: 2h}}") -> Path:
    return write(folder, f"version: 1\n{text}\n", "policies.yaml")


def test_applying_policies_applies_their_formats(settings: Settings, tmp_path: Path) -> None:
    file = policy(tmp_path)
    write(tmp_path, GOOD, "formats/one.yaml")
    write(tmp_path, "version: 9", "formats/unused.yaml")
    assert policies.apply(settings, file, NOW) == 1
    first = policies.formats_in_force(settings)
    assert parse_definition(first["one"]) == read_format(tmp_path / "formats" / "one.yaml")[0]
    write(tmp_path, "# said otherwise\n" + GOOD, "formats/one.yaml")
    assert policies.apply(settings, file, NOW + timedelta(hours=1)) == 1, "the same content makes no version"
    write(tmp_path, CSV, "formats/one.yaml")
    assert policies.apply(settings, file, NOW + timedelta(hours=2)) == 2, "a format alone makes a version"
    assert policies.formats_in_force(settings).keys() == {"one"}
    assert policies.formats_in_force(settings) != first
    assert policies.apply(settings, policy(tmp_path, "suppliers: {A: {}}"), NOW) == 3
    assert policies.formats_in_force(settings) == {}
    assert [(row["policy_version"], row["format"]) for row in _stored(settings)] == [(1, "one"), (2, "one")]


def test_defaults_may_name_a_format_and_a_setting_the_folder(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"formats": Formats(folder=tmp_path / "elsewhere")})
    write(tmp_path, GOOD, "elsewhere/two.yaml")
    assert policies.apply(elsewhere, policy(tmp_path, "defaults: {format: two}"), NOW) == 1
    assert policies.formats_in_force(settings).keys() == {"two"}


@pytest.mark.parametrize(
    ("format_text", "message"),
    [(None, r"policies\.yaml:2: suppliers\.A\.format: there is no format one: write .*one\.yaml.*there: other"),
     ("version: 1", r"one\.yaml:1: payload: is missing")],
)  # fmt: skip
def test_policies_that_name_no_good_format_are_refused(
    settings: Settings, tmp_path: Path, format_text: str | None, message: str
) -> None:
    write(tmp_path, GOOD, "formats/other.yaml")
    if format_text:
        write(tmp_path, format_text, "formats/one.yaml")
    with pytest.raises(UserError, match=message):
        policies.apply(settings, policy(tmp_path), NOW)
    assert policies.current_policies(settings)[0] == 0
    assert open_table(settings, "formats") is None


def test_a_crash_between_the_two_tables_leaves_the_old_version_in_force(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, GOOD, "formats/one.yaml")
    file = policy(tmp_path)
    policies.apply(settings, file, NOW)
    before = policies.formats_in_force(settings)
    # As far as an attempt came that was killed before the policies' own rows.
    write(tmp_path, CSV, "formats/one.yaml")
    found = store.read_named(settings, file, policies.parse_policies(file).formats)
    store.append(settings, 2, found, NOW + timedelta(minutes=1))
    assert policies.current_policies(settings)[0] == 1
    assert policies.formats_in_force(settings) == before
    write(tmp_path, AVRO % FIELDS, "formats/one.yaml")
    assert policies.apply(settings, file, NOW + timedelta(minutes=2)) == 2
    assert len(_stored(settings)) == 3
    assert parse_definition(policies.formats_in_force(settings)["one"]).payload == "avro"


def _stored(settings: Settings) -> list[dict[str, object]]:
    return read(open_table(settings, "formats"), "formats").sort("policy_version").to_dicts()
