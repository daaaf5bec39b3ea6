"""A real broker with TLS, SCRAM and ACLs: each listener another way in, users and rights of the tests' own."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from jobs.cli.broker import HOST, Broker, free_port
from jobs.cli.processes import wait_until
from jobs.common.kafka import admin

PASSWORD = 'correct-h0rse=battery"staple\\'
#: Who comes with a certificate that the CA signed, and who comes by PLAIN, with his password.
CERTIFIED = "certified"
PLAIN_USER, PLAIN_PASSWORD = "plain", "plain-secret"
_LOG4J_MORE = """\
logger.selector.name = org.apache.kafka.common.network.Selector
logger.selector.level = info
logger.authorizer.name = kafka.authorizer.logger
logger.authorizer.level = info
"""
_SCRAM = {"SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512, "SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256}
_ITERATIONS = 4096
SCRAM_ONLY = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
Right = tuple[ResourceType, str, AclOperation]


def as_pkcs8(key: bytes) -> bytes:
    """A private key in the only form that Java reads."""
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _binding(user: str, right: Right) -> AclBinding:
    kind, name, operation = right
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def _filter(user: str) -> AclBindingFilter:
    # The client's types know no None, which is any name and any host.
    anything: Any = None
    who, allowed = f"User:{user}", AclPermissionType.ANY
    return AclBindingFilter(
        ResourceType.ANY, anything, ResourcePatternType.ANY, who, anything, AclOperation.ANY, allowed
    )


class SecureBroker(Broker):
    """Its first listener is plain and for the tests' own errands: who comes there may do everything.

    `secure`: TLS and SASL. `expired`: the same, its certificate has run out. `mutual`: TLS with client certificates.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._ports: dict[str, int] = {}
        self.ca = trustme.CA()
        self.certificates = self.home / "certificates"

    def _options(self, port: int, controller: int) -> dict[str, object]:
        self._certify()
        self._ports = {name: free_port() for name in ("SECURE", "EXPIRED", "MUTUAL")}
        ways = {"INTERNAL": port, **self._ports}
        told = ",".join(f"{name}://{HOST}:{number}" for name, number in ways.items())
        options = {
            **super()._options(port, controller),
            "listeners": f"{told},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": told,
            "listener.security.protocol.map": (
                "INTERNAL:PLAINTEXT,SECURE:SASL_SSL,EXPIRED:SASL_SSL,MUTUAL:SSL,CONTROLLER:PLAINTEXT"
            ),
            "inter.broker.listener.name": "INTERNAL",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            "connection.failed.authentication.delay.ms": 50,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificates / "server.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.ca_file,
            "listener.name.expired.ssl.keystore.type": "PEM",
            "listener.name.expired.ssl.keystore.location": self.certificates / "expired.pem",
            "listener.name.mutual.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": f"RULE:^.*$/{CERTIFIED}/",
        }
        for name in ("secure", "expired"):
            options[f"listener.name.{name}.sasl.enabled.mechanisms"] = "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN"
            for mechanism in _SCRAM:
                options[f"listener.name.{name}.{mechanism.lower()}.sasl.jaas.config"] = SCRAM_ONLY
            options[f"listener.name.{name}.plain.sasl.jaas.config"] = (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                f'user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
            )
        return options

    def _make_folder(self) -> None:
        super()._make_folder()
        with (self.folder / "log4j2.properties").open("a") as file:
            file.write(_LOG4J_MORE)

    def _certify(self) -> None:
        self.certificates.mkdir(exist_ok=True)
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        past = datetime.now(UTC) - timedelta(days=1)
        for name, until in (("server", None), ("expired", past)):
            issued = self.ca.issue_cert(HOST, not_after=until) if until else self.ca.issue_cert(HOST)
            chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
            (self.certificates / f"{name}.pem").write_bytes(as_pkcs8(issued.private_key_pem.bytes()) + chain)

    @property
    def ca_file(self) -> Path:
        """The certificate of who signed the broker's."""
        return self.certificates / "ca.pem"

    def at(self, listener: str) -> str:
        """`host:port` of a listener: plain, secure, expired or mutual."""
        return self.bootstrap_servers if listener == "plain" else f"{HOST}:{self._ports[listener.upper()]}"

    def client_certificate(self, folder: Path) -> tuple[Path, Path]:
        """Files of a private key and of a certificate for a client."""
        issued = self.ca.issue_cert("reco.example.com")
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        key.write_bytes(as_pkcs8(issued.private_key_pem.bytes()))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return key, certificate

    def add_user(self, name: str, password: str = PASSWORD) -> None:
        """A user for both kinds of SCRAM, without rights; known to the broker when this returns."""
        client = admin({"bootstrap.servers": self.bootstrap_servers})
        for mechanism in _SCRAM.values():
            wanted = UserScramCredentialUpsertion(name, ScramCredentialInfo(mechanism, _ITERATIONS), password.encode())
            for future in client.alter_user_scram_credentials([wanted]).values():
                future.result()

        def is_known() -> bool:
            asked: Any = client.describe_user_scram_credentials([name])
            try:
                told = asked[name].result().scram_credential_infos
            except KafkaException:
                return False
            return len(told) == len(_SCRAM)

        assert wait_until(is_known, 30)

    def allow(self, user: str, *rights: Right) -> None:
        """Give rights on a topic, group or transactional id; in force when this returns."""
        client = admin({"bootstrap.servers": self.bootstrap_servers})
        wanted = [_binding(user, right) for right in rights]
        for future in client.create_acls(wanted).values():
            future.result()
        assert wait_until(lambda: {*wanted} <= {*client.describe_acls(_filter(user)).result()}, 30)

    def forbid(self, user: str, *rights: Right) -> None:
        """Take rights back; gone when this returns."""
        client = admin({"bootstrap.servers": self.bootstrap_servers})
        gone = [_binding(user, right) for right in rights]
        filters = [
            AclBindingFilter(
                one.restype,
                one.name,
                one.resource_pattern_type,
                one.principal,
                one.host,
                one.operation,
                one.permission_type,
            )
            for one in gone
        ]
        for future in client.delete_acls(filters).values():
            future.result()
        assert wait_until(lambda: not {*gone} & {*client.describe_acls(_filter(user)).result()}, 30)

    def failed_attempts(self) -> int:
        """How many connections the broker has refused, or had refused: handshakes of TLS and of SASL."""
        return self._logged().count("Failed authentication with")
