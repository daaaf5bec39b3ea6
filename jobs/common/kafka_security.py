"""The road to the broker, TLS and who we are, in the words of librdkafka and in those of Kafka's Java clients."""

import os
import re
from pathlib import Path

from jobs.common.errors import UserError
from jobs.common.secrets import secret
from jobs.common.settings import KafkaSecurity

_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_KEY = re.compile(r"-----BEGIN ((?:[A-Z]+ )*)PRIVATE KEY-----")
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def client_security(told: KafkaSecurity) -> dict[str, str]:
    """Options of a confluent-kafka client. UserError where a secret or a file is not there, or no such thing."""
    if told.protocol == "PLAINTEXT":
        return {}
    options: dict[str, str] = {"security.protocol": told.protocol}
    if told.protocol == "SASL_SSL":
        options |= {
            "sasl.mechanism": told.mechanism,
            "sasl.username": told.username,
            "sasl.password": _password(told),
        }
    if told.ca_file:
        _certificates(told.ca_file, "kafka.security.ca_file")
        options["ssl.ca.location"] = str(told.ca_file)
    if told.certificate_file:
        options["ssl.certificate.pem"] = _certificates(told.certificate_file, "kafka.security.certificate_file")
        options["ssl.key.pem"] = _key(told)
    return options


def java_security(told: KafkaSecurity) -> dict[str, str]:
    """The same for Kafka's Java clients. Certificates go along as text: an executor needs no files.

    Raises UserError as `client_security` does.
    """
    if told.protocol == "PLAINTEXT":
        return {}
    options: dict[str, str] = {"security.protocol": told.protocol}
    if told.protocol == "SASL_SSL":
        options |= {"sasl.mechanism": told.mechanism, "sasl.jaas.config": _jaas(told)}
    if told.ca_file:
        certificates = _certificates(told.ca_file, "kafka.security.ca_file")
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.certificates": certificates}
    if told.certificate_file:
        chain = _certificates(told.certificate_file, "kafka.security.certificate_file")
        options |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": chain,
            "ssl.keystore.key": _key(told),
        }
    return options


def _password(told: KafkaSecurity) -> str:
    found = secret(told.password, "kafka.security.password")
    if not found.isprintable():
        raise UserError(
            f"kafka.security.password: what {told.password} holds has line ends or other signs that no password has."
        )
    return found


def _jaas(told: KafkaSecurity) -> str:
    # On Databricks the clients of Kafka are part of Spark, under another name.
    shaded = "kafkashaded." if "DATABRICKS_RUNTIME_VERSION" in os.environ else ""
    name, password = (_quoted(text) for text in (told.username, _password(told)))
    return f"{shaded}{_MODULES[told.mechanism]} required username={name} password={password};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _certificates(path: Path, what: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM text"
        raise UserError(f"{what}: {path} cannot be read: {reason}; give a file of certificates as PEM.") from error
    if _CERTIFICATE not in text:
        raise UserError(f"{what}: {path} holds no certificate as PEM ({_CERTIFICATE}).")
    return text


def _key(told: KafkaSecurity) -> str:
    text = secret(told.key, "kafka.security.key")
    found = _KEY.search(text)
    if found is None or found[1]:
        raise UserError(
            f"kafka.security.key: what {told.key} leads to is no private key as PKCS #8 without a password, the form "
            "that both clients read: openssl pkcs8 -topk8 -nocrypt -in key.pem -out key-pkcs8.pem."
        )
    return text
