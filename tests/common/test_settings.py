"""Settings: file, environment, and what is wrong with either."""

import os
import re
from pathlib import Path

import pytest

from jobs.common.errors import UserError
from jobs.common.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
_VARIABLE = re.compile(r"\bRECO_[A-Z0-9_]*[A-Z0-9]\b")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RECO_")]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_defaults_are_those_of_local_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bare = load_settings(None)
    assert bare == load_settings(CONF / "local.yaml")
    assert bare.lake.root == str(tmp_path / ".reco/lake")
    assert bare.stream.checkpoint_root == str(tmp_path / ".reco/lake/_checkpoints")
    assert bare.local.home == tmp_path / ".reco"
    assert bare.is_local_lake
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/local.yaml").write_text("lake: {root: /elsewhere}")
    assert load_settings(None).lake.root == "/elsewhere"


@pytest.mark.parametrize("name", ["emr.yaml", "databricks.yaml"])
def test_cluster_settings_leave_master_and_jars_to_the_cluster(name: str) -> None:
    settings = load_settings(CONF / name)
    assert settings.spark.master is None
    assert settings.spark.jars == []
    assert not settings.is_local_lake


@pytest.mark.parametrize(
    ("root", "held", "local"),
    [
        ("s3a://bucket/lake/", "s3a://bucket/lake", False),
        ("file:///data/lake", "/data/lake", True),
        ("file:/data/lake", "/data/lake", True),
        ("/data/lake/", "/data/lake", True),
    ],
)
def test_the_lakes_root(tmp_path: Path, root: str, held: str, local: bool) -> None:
    settings = load_settings(write(tmp_path, f"lake: {{root: '{root}'}}"))
    assert (settings.lake.root, settings.is_local_lake) == (held, local)
    assert settings.table_path("activity_raw") == f"{held}/bronze/activity_raw"
    assert settings.stream.checkpoint_root == f"{held}/_checkpoints"


def test_the_environment_beats_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "kafka: {bootstrap_servers: 'a:1', options: {x: 1, y: true}}\nlake: {root: /file}\n")
    monkeypatch.setenv("RECO_KAFKA__BOOTSTRAP_SERVERS", "b:2")
    monkeypatch.setenv("RECO_LAKE__ROOT", "/env")
    monkeypatch.setenv("RECO_SPARK__JARS", '["a.jar"]')
    monkeypatch.setenv("RECO_LOCAL__BROKER_PORT", "9095")
    settings = load_settings(path)
    assert settings.kafka.bootstrap_servers == "b:2"
    assert settings.kafka.options == {"x": "1", "y": "true"}
    assert (settings.lake.root, settings.spark.jars, settings.local.broker_port) == ("/env", ["a.jar"], 9095)


def test_null_takes_back_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "metrics: {port: 9100}\noutbox: {keep_hours: 5}\n")
    monkeypatch.setenv("RECO_METRICS__PORT", "null")
    monkeypatch.setenv("RECO_OUTBOX__KEEP_HOURS", "null")
    settings = load_settings(path)
    assert (settings.metrics.port, settings.outbox.keep_hours) == (None, None)
    monkeypatch.setenv("RECO_LAKE__ROOT", "null")
    with pytest.raises(UserError, match=r"RECO_LAKE__ROOT: lake\.root: must "):
        load_settings(path)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("lake:\n  rot: x", 2, "lake.rot: unknown key; did you mean lake.root?"),
        ("\nlakes: {}", 2, "lakes: unknown key"),
        ("lake: {root: ''}", 1, "lake.root: must not be empty"),
        ("lake: {root: /my lake}", 1, "lake.root: the folder /my lake has a space in its path, with which"),
        ("lake: {root: /etc/passwd}", 1, "lake.root: /etc/passwd is a file; give a folder"),
        ("lake: {root: /etc/passwd/lake}", 1, "lake.root: /etc/passwd is a file; give a folder"),
        (
            "lake: {root: 'foo://bucket/lake'}",
            1,
            "lake.root: foo: is no place that all readers of a lake know; give a folder, or a URI of s3a, s3, gs, abfs",
        ),
        ("lake: {root: 'http://bucket/lake'}", 1, "lake.root: http: is no place"),
        ("stream:\n  nrt_horizon: 48", 2, "stream.nrt_horizon: must be a duration with a unit: 90s"),
        ("stream:\n  nrt_horizon: 6h", 2, "stream.nrt_horizon: must be whole hours, from 7h to 366d"),
        ("stream:\n  nrt_horizon: 367d", 2, "stream.nrt_horizon: must be whole hours, from 7h to 366d"),
        ("stream:\n  nrt_horizon: 90m", 2, "stream.nrt_horizon: must be whole hours, from 7h to 366d"),
        (
            "\nstream:\n  nrt_horizon: 2d\n  nrt_horizon_hours: 47",
            2,
            "stream: nrt_horizon says 48 hours and nrt_horizon_hours 47; leave one of them out",
        ),
        (
            "warehouse: {url: 'http://u:p@h/db'}",
            1,
            "warehouse.url: must be like http://127.0.0.1:8123, without user, password and path",
        ),
        ("lake: {root: 5}", 1, "lake.root: must be text; put it in quotes"),
        ("lake: 5", 1, "lake: must be a mapping"),
        ("lake:", 1, "lake: must be a mapping"),
        ("topics:\n  partitions: four", 2, "topics.partitions: must be a whole number"),
        ("topics:\n  partitions: 0", 2, "topics.partitions: must be greater than or equal to 1"),
        ("topics:\n  agoda_raw: a b", 2, "topics.agoda_raw: must have the form"),
        (
            "topics:\n  agoda_raw: a\n  results: a",
            1,
            "topics: agoda_raw and results are both a; each is a topic of its own",
        ),
        ("stream:\n  trigger: soon", 2, "stream.trigger: must have the form"),
        ("local: {broker_port: 70000}", 1, "local.broker_port: must be less than or equal to 65535"),
        ("spark: {jars: a.jar}", 1, "spark.jars: must be a list"),
        ("lake: {root: a}\nlake: {root: b}", 2, "lake: stands twice, first on line 1"),
        ("lake: {root: a", 1, "this is not YAML"),
    ],
)
def test_each_mistake_names_file_line_and_key(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("RECO_TOPICS__PARTITIONS", "x", "Environment variable RECO_TOPICS__PARTITIONS: topics.partitions: must be a"),
        ("RECO_LAKE__ROT", "x", "Environment variable RECO_LAKE__ROT: lake.rot: unknown key; did you mean lake.root?"),
        ("RECO_LAK__ROOT", "x", "Environment variable RECO_LAK__ROOT: lak.root: unknown key; did you mean lake.root?"),
        (
            "RECO_LAKE_ROOT",
            "/x",
            "Environment variable RECO_LAKE_ROOT: one _ between section and key; did you mean RECO_LAKE__ROOT?",
        ),
        ("reco_kafka_bootstrap_servers", "b:2", "did you mean RECO_KAFKA__BOOTSTRAP_SERVERS?"),
        ("RECO_KAFKA_SECURITY_PROTOCOL", "SSL", "did you mean RECO_KAFKA__SECURITY__PROTOCOL?"),
        (
            "RECO_SPARK__JARS",
            "a.jar",
            "RECO_SPARK__JARS: spark.jars: must be a list; lists and maps are written as JSON",
        ),
        ("RECO_LAKE", "/x", "Environment variable RECO_LAKE: lake is a section; set its keys, like RECO_LAKE__ROOT."),
        ("RECO_LAKE", "[]", "Environment variable RECO_LAKE: lake is a section; set its keys, like RECO_LAKE__ROOT."),
        (
            "RECO_STREAM__MATCH_GROUP",
            "0",
            "Environment variable RECO_STREAM__MATCH_GROUP: stream: match_group and match_suppliers mean something",
        ),
        (
            "RECO_STREAM__NRT_HORIZON",
            "1h",
            "Environment variable RECO_STREAM__NRT_HORIZON: stream.nrt_horizon: must be",
        ),
        (
            "RECO_OUTBOX__SIDES",
            "[agoda]",
            "Environment variable RECO_OUTBOX__SIDES: outbox.sides: lists and maps are written as JSON",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UserError) as caught:
        load_settings(CONF / "local.yaml")
    assert message in str(caught.value)


def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [ROOT / name for name in ("jobs", "tools", "conf", "bench", "docs", "Makefile", "README.md")]
    files = [file for place in places for file in [place, *place.rglob("*")] if file.is_file()]
    found = {name for file in files for name in _VARIABLE.findall(file.read_text("utf-8", "ignore"))}
    assert {"RECO_COMPILED", "RECO_CLOSE_BY", "RECO_CONSOLE_PASSWORD", "RECO_AIRFLOW_SETTINGS"} <= found
    for name in found | {"RECO_WORKLOADS", "RECO_LAKE", "RECO_ROOT"}:
        if "__" not in name:
            monkeypatch.setenv(name, "{}")
    load_settings(CONF / "local.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no settings file .*none\.yaml"):
        load_settings(tmp_path / "none.yaml")


def test_options_are_not_shown(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "kafka: {options: {some.password: hunter2}}"))
    assert "hunter2" not in repr(settings)
    assert isinstance(settings, Settings)


@pytest.mark.parametrize("dsn", ["postgresql://relay:hunter2@db/shop", "postgresql://db/shop?password=hunter2"])
def test_a_password_in_a_file_is_refused_and_not_shown(tmp_path: Path, dsn: str) -> None:
    with pytest.raises(UserError, match=r"outbox\.dsn: holds a password; refer to it, as env:NAME") as caught:
        load_settings(write(tmp_path, f"outbox:\n  dsn: {dsn}"))
    assert "hunter2" not in str(caught.value)


def test_a_password_in_the_environment_is_taken_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECO_OUTBOX__DSN", "postgresql://relay:hunter2@db/shop")
    settings = load_settings(write(tmp_path, "outbox: {dsn: 'env:SHOP'}"))
    assert settings.outbox.dsn == "postgresql://relay:hunter2@db/shop"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("table", ["outbox; drop table x", "a.b.c", 'out"box', ""])
def test_names_of_tables_are_letters(tmp_path: Path, table: str) -> None:
    with pytest.raises(UserError, match=r"outbox\.table: must have the form"):
        load_settings(write(tmp_path, f"outbox: {{table: '{table}'}}"))


@pytest.mark.parametrize(
    ("text", "variables", "hours"),
    [
        ("", {}, 48),
        ("stream: {nrt_horizon: 7h}", {}, 7),
        ("stream: {nrt_horizon: 1d12h}", {}, 36),
        ("stream: {nrt_horizon_hours: 72}", {}, 72),
        ("stream: {nrt_horizon: 3d, nrt_horizon_hours: 72}", {}, 72),
        ("stream: {nrt_horizon: 2d}", {"NRT_HORIZON_HOURS": "72"}, 72),
        ("stream: {nrt_horizon_hours: 48}", {"NRT_HORIZON": "72h"}, 72),
        ("stream: {nrt_horizon: 2d}", {"NRT_HORIZON": "366d"}, 24 * 366),
    ],
)
def test_the_streams_horizon_has_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variables: dict[str, str], hours: int
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"RECO_STREAM__{name}", value)
    settings = load_settings(write(tmp_path, text))
    assert settings.stream.nrt_horizon_hours == hours
    assert "nrt_horizon" not in settings.stream.model_dump()


def test_two_names_that_differ_in_the_environment_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECO_STREAM__NRT_HORIZON", "3d")
    monkeypatch.setenv("RECO_STREAM__NRT_HORIZON_HOURS", "71")
    said = (
        r"^Environment variables RECO_STREAM__NRT_HORIZON, RECO_STREAM__NRT_HORIZON_HOURS: stream: nrt_horizon says 72 "
    )
    with pytest.raises(UserError, match=said):
        load_settings(CONF / "local.yaml")


def test_an_address_may_end_with_a_slash(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, "warehouse: {url: 'http://h:1//'}")).warehouse.url == "http://h:1"
