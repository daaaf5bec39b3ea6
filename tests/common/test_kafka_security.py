"""What clients are told of TLS and passwords, and what the settings refuse."""

import re
from pathlib import Path
from typing import Any

import pytest
import trustme

from jobs.common.errors import UserError
from jobs.common.kafka import client_options, sink_options, spark_options
from jobs.common.settings import Settings, load_settings

PASSWORD = 'a"b\\c=d'
SASL = "protocol: SASL_SSL, username: reco"


def load(folder: Path, security: str, more: str = "") -> Settings:
    path = folder / "settings.yaml"
    path.write_text(f"kafka:\n  bootstrap_servers: far:9096\n  security: {{{security}}}\n{more}")
    return load_settings(path)


def test_one_section_tells_both_kinds_of_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", PASSWORD)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = load(tmp_path, f"{SASL}, password: env:PW, ca_file: {tmp_path}/ca.pem")
    client, spark = client_options(settings), spark_options(settings)
    assert (client["sasl.username"], client["sasl.password"]) == ("reco", PASSWORD)
    assert client["ssl.ca.location"] == f"{tmp_path}/ca.pem"
    assert spark["kafka.sasl.jaas.config"] == (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        r'username="reco" password="a\"b\\c=d";'
    )
    assert spark["kafka.ssl.truststore.certificates"] == (tmp_path / "ca.pem").read_text()
    assert "kafka.reconnect.backoff.ms" not in spark
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17.3")
    assert spark_options(settings)["kafka.sasl.jaas.config"].startswith("kafkashaded.org.apache.kafka.")
    assert PASSWORD not in repr(settings) + settings.model_dump_json()


def test_without_security_nothing_is_added() -> None:
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": "far:9092", "options": {"client.id": "x"}}})
    assert client_options(settings) == {"bootstrap.servers": "far:9092", "client.id": "x"}
    assert spark_options(settings) == {"kafka.bootstrap.servers": "far:9092", "kafka.client.id": "x"}


def test_what_is_written_goes_as_the_settings_say() -> None:
    assert sink_options(Settings())["kafka.compression.type"] == "lz4"
    told = Settings.model_validate({"kafka": {"options": {"compression.type": "none"}}})
    assert sink_options(told)["kafka.compression.type"] == "none"


@pytest.mark.parametrize(
    ("security", "told"),
    [
        ("protocol: SASL_PLAINTEXT, username: a, password: 'env:B'", "would send password and bookings in the open"),
        ("protocol: SASL_SSL, username: a", "SASL_SSL needs password too"),
        (f"{SASL}, password: hunter2", "not written down but referred to: env:NAME, file:PATH or aws-secretsmanager"),
        ("username: a, password: 'env:B'", "username means nothing with protocol PLAINTEXT"),
        ("protocol: SSL, certificate_file: /x.pem", "certificate_file and key go together"),
        ("protocol: TLS", "kafka.security.protocol"),
        (f"{SASL}, password: 'env:B', mechanism: GSSAPI", "kafka.security.mechanism"),
        ("protcol: SSL", "did you mean"),
    ],
)
def test_settings_that_make_no_road_are_refused(tmp_path: Path, security: str, told: str) -> None:
    with pytest.raises(UserError) as raised:
        load(tmp_path, security)
    assert told in str(raised.value)
    assert f"{tmp_path}/settings.yaml:" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "option",
    [
        "sasl.password",
        "sasl.jaas.config",
        "sasl.mechanism",
        "security.protocol",
        "ssl.ca.location",
        "ssl.keystore.key",
        "ssl.key.pem",
    ],
)
def test_the_road_is_told_in_one_place(tmp_path: Path, option: str) -> None:
    with pytest.raises(UserError, match=rf"options: {option} is no option here; kafka\.security says it") as raised:
        load(tmp_path, "protocol: SSL", f"  options: {{{option}: hunter2}}\n")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("security", "told"),
    [
        ("ca_file: /nowhere/ca.pem", r"kafka\.security\.ca_file: /nowhere/ca\.pem cannot be read: No such file"),
        ("ca_file: KEY", r"kafka\.security\.ca_file: .* holds no certificate as PEM"),
        ("certificate_file: CA, key: 'file:KEY'", r"kafka\.security\.key: .*PKCS #8.*openssl pkcs8 -topk8 -nocrypt"),
        (
            "certificate_file: CA, key: 'env:NOT_SET'",
            r"kafka\.security\.key refers to env:NOT_SET, which is not set or empty",
        ),
    ],
)
def test_files_that_are_not_what_they_should_be_are_named(tmp_path: Path, security: str, told: str) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    # What trustme, and many an openssl, writes is not PKCS #8.
    ca.issue_cert("x").private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    named = security.replace("CA,", f"{tmp_path}/ca.pem,").replace("KEY", f"{tmp_path}/key.pem")
    settings = load(tmp_path, f"protocol: SSL, {named}")
    for options_of in (client_options, spark_options):
        with pytest.raises(UserError, match=told):
            options_of(settings)


def test_a_password_with_a_line_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "two\nlines")
    with pytest.raises(UserError, match=r"what env:PW holds has line ends") as raised:
        client_options(load(tmp_path, f"{SASL}, password: env:PW"))
    assert "two" not in str(raised.value)


def test_the_environment_can_say_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {"PROTOCOL": "SASL_SSL", "USERNAME": "reco", "PASSWORD": "env:PW"}
    for name, value in told.items():
        monkeypatch.setenv(f"RECO_KAFKA__SECURITY__{name}", value)
    monkeypatch.setenv("PW", "x")
    assert client_options(load_settings(None))["sasl.password"] == "x"


def test_what_the_page_shows_are_settings(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    shown = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    for text in shown:
        (tmp_path / "settings.yaml").write_text(text)
        assert load_settings(tmp_path / "settings.yaml").kafka.security.protocol in ("SSL", "SASL_SSL")
