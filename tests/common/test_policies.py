"""Policies: the file's errors, what it resolves to, and the store."""

import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs.common import lake, policies
from jobs.common.errors import UserError
from jobs.common.policy_file import BUILT_IN, Policy, duration_of, parse_policies, seconds_of
from jobs.common.settings import Lake, Settings
from schemas.tables import TABLES

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "conf" / "policies.yaml"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(lake=Lake(root=str(tmp_path / "lake")))


def write(folder: Path, text: str) -> Path:
    path = folder / "p.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "version: is missing"),
        ("version: 2", 1, "version: must be 1"),
        ("version: true", 1, "version: must be 1"),
        ("version: 1\ndefault: {}", 2, "default: unknown key; did you mean defaults?"),
        ("version: 1\ndefaults:\n  grase: 1h", 3, "defaults.grase: unknown key; did you mean defaults.grace?"),
        ("version: 1\ndefaults:\n  price: {abs_tol: 1}", 3, "defaults.price.abs_tol: unknown key"),
        ("version: 1\nsuppliers:\n  A:\n    mod: x", 4, "suppliers.A.mod: unknown key; did you mean suppliers.A.mode?"),
        ("version: 1\ndefaults:\n  mode: NRT", 3, "defaults.mode: must be 'NRT_HOURLY' or 'DAILY_ONLY'"),
        ("version: 1\ndefaults:\n  versions: both", 3, "defaults.versions: must be 'aligned' or 'independent'"),
        ("version: 1\ndefaults:\n  grace: 59s", 3, "defaults.grace: must be from 1m to 6h, not 59s"),
        ("version: 1\ndefaults:\n  grace: 6h1s", 3, "defaults.grace: must be from 1m to 6h, not 6h1s"),
        ("version: 1\ndefaults:\n  grace: 60", 3, "defaults.grace: must be a duration with a unit"),
        ("version: 1\ndefaults:\n  grace: 1:30", 3, "defaults.grace: must be a duration with a unit"),
        ("version: 1\ndefaults:\n  grace: 5 minutes", 3, "defaults.grace: must be a duration with a unit"),
        ("version: 1\ndefaults:\n  grace: ", 3, "defaults.grace: has no value"),
        ("version: 1\ndefaults:\n  allowed_skew: 24h1s", 3, "defaults.allowed_skew: must be from 0s to 24h"),
        ("version: 1\ndefaults:\n  max_delay: 8d", 3, "defaults.max_delay: must be from 0s to 7d"),
        ("version: 1\ndefaults:\n  price: {abs_tol_usd: -1}", 3, "defaults.price.abs_tol_usd: must be a number from 0"),
        ("version: 1\ndefaults:\n  price: {abs_tol_usd: 1e3}", 3, "abs_tol_usd: must be a number from 0"),
        ("version: 1\ndefaults:\n  price: {abs_tol_usd: .nan}", 3, "abs_tol_usd: must be a number from 0"),
        ("version: 1\ndefaults:\n  price: {abs_tol_usd: 0.1234567}", 3, "abs_tol_usd: must have at most 6 decimals"),
        ("version: 1\ndefaults:\n  price: {abs_tol_usd: 1000000000000}", 3, "abs_tol_usd: must be a number from 0"),
        ("version: 1\ndefaults:\n  price: {pct_tol: '1.000001'}", 3, "pct_tol: must be a ratio from 0 to 1"),
        ("version: 1\ndefaults:\n  price: 5", 3, "defaults.price: must be a mapping"),
        ("version: 1\ndefaults:\n  severity: {high_usd: 1001}", 3, "defaults.severity: high_usd 1001 must not be over"),
        (
            "version: 1\nsuppliers:\n  A:\n    severity: {critical_usd: 99}",
            4,
            "suppliers.A.severity: high_usd 100 must not be over critical_usd 99",
        ),
        ("version: 1\ndefaults:\n  format: a b", 3, "defaults.format: must have the form"),
        ("version: 1\nsuppliers:\n  A: {}\n  A: {}", 4, "suppliers.A: stands twice, first on line 3"),
        ("version: 1\nversion: 1", 2, "version: stands twice, first on line 1"),
        ("version: 1\nsuppliers:\n  '': {}", 3, "suppliers: '': a supplier's id must have 1 to 128 characters"),
        ("version: 1\nsuppliers:\n  " + "x" * 129 + ": {}", 3, "must have 1 to 128 characters"),
        ('version: 1\nsuppliers:\n  "\\ud800": {}', 3, "without lone surrogates"),
        ("version: 1\nsuppliers: [A]", 2, "suppliers: must be a mapping"),
        ("version: 1\nsuppliers: {A: &a {}, B: *a}", 2, "suppliers.B: aliases (*name) are not supported"),
        ("version: 1\nsuppliers: {[A]: {}}", 2, "a key must be plain text"),
        ("- 1", 1, "the policies file must be a mapping"),
        ("version: [", 1, "this is not YAML"),
        ("version: 1\n# \0", 2, "this is not YAML: the character U+0000"),
        ("version: " + "[" * 3000, 1, "is nested too deep"),
        (
            "version: 1\ndefaults:\n  price: {abs: 1}",
            3,
            "defaults.price.abs: unknown key; did you mean defaults.price.abs_tol_usd?",
        ),
        ('version: 1\nsuppliers:\n  "A\\nB": {no: 1}', 3, "suppliers.A\\nB.no: unknown key"),
    ],
)
def test_each_mistake_names_file_line_and_key(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        parse_policies(path)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        parse_policies(write(tmp_path, "version: 1\ndefaults:\n  nope: 1\n  grace: 1s\n"))
    assert [text.split(": ")[1] for text in str(caught.value).splitlines()] == ["defaults.nope", "defaults.grace"]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no policies file"):
        parse_policies(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"version: 1\n\xff\xfe\x00")
    with pytest.raises(UserError, match=r"b\.yaml:2: this is not UTF-8"):
        parse_policies(tmp_path / "b.yaml")


def test_the_limits_themselves_are_legal(tmp_path: Path) -> None:
    text = (
        "version: 1\n"
        "defaults: {grace: 1m, allowed_skew: 24h, max_delay: 7d, price: {abs_tol_usd: 0, pct_tol: 1},"
        " severity: {high_usd: 5, critical_usd: 5}}\n"
        "suppliers: {A: {grace: 6h, allowed_skew: 0, max_delay: 0s, price: {abs_tol_usd: 0.100001}}}\n"
    )
    found = parse_policies(write(tmp_path, text)).policies
    assert found[None].grace == 60
    assert found["A"].grace == 21_600
    assert (found["A"].allowed_skew, found["A"].max_delay) == (0, 0)
    assert (found["A"].abs_tol_usd, found["A"].pct_tol) == (Decimal("0.100001"), Decimal(1))


def test_what_is_left_out_comes_from_the_defaults_and_theirs_from_the_contract(tmp_path: Path) -> None:
    found = parse_policies(
        write(tmp_path, "version: 1\ndefaults: {grace: 2h}\nsuppliers: {NO: , 007: {mode: DAILY_ONLY}}")
    )
    assert found.policies[None] == BUILT_IN.model_copy(update={"grace": 7_200})
    assert found.policies["NO"] == found.policies[None]
    assert found.policies["007"] == found.policies[None].model_copy(update={"mode": "DAILY_ONLY"})


def test_the_worked_example_states_the_contracts_defaults() -> None:
    assert parse_policies(EXAMPLE).policies[None] == BUILT_IN == Policy()


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604_800), ("0s", 0)])
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds
    assert seconds_of(duration_of(seconds)) == seconds


def test_applying_appends_versions_and_the_same_content_does_not(settings: Settings, tmp_path: Path) -> None:
    assert policies.current_policies(settings) == (0, {None: BUILT_IN})
    first = write(tmp_path, "version: 1\nsuppliers: {A: {grace: 2h}, B: {}}")
    assert policies.apply(settings, first, NOW) == 1
    same = tmp_path / "same.yaml"
    same.write_text("# said otherwise\nversion: 1\nsuppliers:\n  B:\n  A: {grace: 120m}\n")
    assert policies.apply(settings, same, NOW) == 1
    assert policies.apply(settings, write(tmp_path, "version: 1\nsuppliers: {A: {grace: 3h}, C: {}}"), NOW) == 2
    version, found = policies.current_policies(settings)
    assert version == 2
    assert list(found) == [None, "A", "C"]
    assert found["A"].grace == 10_800
    assert policies.policies_of(settings, 1)["A"].grace == 7_200
    seen = [(entry.policy_version, entry.suppliers, entry.changes) for entry in policies.history(settings)]
    assert seen == [(2, 2, 3), (1, 2, 3)]


def test_who_is_slower_with_the_same_file_has_applied_it_too(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lake.append_version

    def slower(*args: Any) -> None:
        monkeypatch.setattr(policies, "append_version", whole)
        policies.apply(settings, faster, NOW)
        whole(*args)

    for number, text in enumerate(("version: 1", "version: 1\ndefaults: {grace: 2h}", "version: 1"), start=1):
        faster = write(tmp_path, text)
        monkeypatch.setattr(policies, "append_version", slower)
        assert policies.apply(settings, faster, NOW) == number
    monkeypatch.setattr(policies, "append_version", slower)
    (tmp_path / "other.yaml").write_text("version: 1\ndefaults: {grace: 3h}")
    faster = write(tmp_path, "version: 1\ndefaults: {grace: 4h}")
    with pytest.raises(UserError, match="Somebody else wrote ref/policies at the same moment"):
        policies.apply(settings, tmp_path / "other.yaml", NOW)
    assert [entry.policy_version for entry in policies.history(settings)] == [4, 3, 2, 1]


def test_a_wrong_file_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    policies.apply(settings, EXAMPLE, NOW)
    with pytest.raises(UserError):
        policies.apply(settings, write(tmp_path, "version: 1\ndefaults: {grace: 1s}"), NOW)
    assert policies.current_policies(settings)[0] == 1


def test_diff_takes_a_supplier_that_is_not_listed_for_one_with_defaults() -> None:
    old = {None: BUILT_IN, "A": BUILT_IN.model_copy(update={"grace": 60})}
    changes = policies.diff(old, {None: BUILT_IN})
    assert [(item.supplier_id, item.key, item.before, item.after) for item in changes] == [
        ("A", "listed", True, False),
        ("A", "grace", 60, 3600),
    ]
    assert policies.diff(old, old) == []


def test_a_version_that_does_not_exist(settings: Settings) -> None:
    with pytest.raises(UserError, match="none was applied yet"):
        policies.policies_of(settings, 1)
    policies.apply(settings, EXAMPLE, NOW)
    with pytest.raises(UserError, match="no policy version 2; there are 1 to 1"):
        policies.policies_of(settings, 2)


def test_two_who_apply_at_once_never_share_a_version(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    policies.apply(settings, EXAMPLE, NOW)
    seen_by_both = lake.open_table(settings, "policies")
    other = write(Path(settings.lake.root), "version: 1")
    policies.apply(settings, other, NOW)
    monkeypatch.setattr(sys.modules["jobs.common.policies"], "open_table", lambda *_: seen_by_both)
    with pytest.raises(UserError, match="try again"):
        policies.apply(settings, write(Path(settings.lake.root), "version: 1\ndefaults: {grace: 2h}"), NOW)


def test_the_table_carries_types_and_comments(settings: Settings) -> None:
    policies.apply(settings, EXAMPLE, NOW)
    table = DeltaTable(settings.table_path("policies"))
    assert table.metadata().description == TABLES["policies"].comment
    assert table.protocol().reader_features is None
    for field, ours in zip(table.schema().fields, TABLES["policies"].schema.fields, strict=True):
        assert (field.name, field.metadata) == (ours.name, ours.metadata)
