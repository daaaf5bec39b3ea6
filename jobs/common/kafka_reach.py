"""Whether the broker can be reached, lets us in, and lets us do what a program is about to do: asked once, before it.

librdkafka tries a wrong password or a bad certificate again and again, and tells why only on the side; so the first
refusal ends the question, and becomes a sentence.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, wait
from enum import StrEnum
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from jobs.common import kafka
from jobs.common.errors import FAILED, USAGE, UserError
from jobs.common.settings import Settings, Topics

_POLL_SECONDS = 0.05
#: How long after a refusal another broker of the list may still let us in.
_OTHERS_SECONDS = 2.0
#: What a broker says of a group while another one takes it up, at its start too.
_MOVES = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
_REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.UNSUPPORTED_SASL_MECHANISM)
_HANGS_UP_SECONDS = 1.0
_NO_WAY = (KafkaError._RESOLVE, KafkaError._TIMED_OUT)
_PROBE_SECONDS = 5.0
#: What librdkafka says where one side speaks TLS and the other does not.
_OTHER_ROAD = re.compile(r"security\.protocol|PLAINTEXT|closed by peer|it hangs up")
#: Of OpenSSL: X509_V_ERR_….
_NOT_YET, _EXPIRED, _OTHER_NAME, _OTHER_ADDRESS = 9, 10, 62, 64


class Right(StrEnum):
    """What ACLs allow, by Kafka's names."""

    READ = "READ"
    WRITE = "WRITE"


def stream_rights(topics: Topics, *, normalise: bool = True, match: bool = True) -> dict[str, tuple[Right, ...]]:
    """What the streaming job's queries do with which topics."""
    rights: dict[str, tuple[Right, ...]] = {}
    if normalise:
        written = (topics.agoda_canonical, topics.supplier_canonical, topics.agoda_nrt, topics.supplier_nrt)
        rights |= {topics.agoda_raw: (Right.READ,), topics.supplier_raw: (Right.READ,)}
        rights |= dict.fromkeys(written, (Right.WRITE,))
    if match:
        for name in (topics.agoda_nrt, topics.supplier_nrt):
            rights[name] = (Right.READ, *rights.get(name, ()))
        rights[topics.results] = (Right.WRITE,)
    return rights


def partitions(
    settings: Settings,
    topics: Mapping[str, Iterable[Right]],
    *,
    may_lack: Collection[str] = (),
    group: str = "",
    seconds: float = 15.0,
) -> dict[str, int]:
    """How many partitions each topic has, where we may do with it what is named.

    `may_lack`: topics that need not be there, and are then left out. `group`: a consumer group that we are about to
    join. Raises BrokerAwayError (exit code 1), or UserError where the broker does not let us in (2 where our settings
    are to blame), a topic is not there or a right is missing.
    """
    names = list(topics)
    with_rights = {"include_authorized_operations": True, "request_timeout": seconds}
    found = _ask(settings, lambda client: client.describe_topics(TopicCollection(names), **with_rights), seconds)
    told = {name: _lacking(found[name], topics[name]) for name in names}
    there = [name for name in names if told[name] is not None]
    absent = [name for name in names if name not in there and name not in may_lack]
    lacking = {f"the topic {name}": told[name] for name in names}
    if group:
        lacking[f"the group {group}"] = _lacking(_group(settings, group, with_rights, seconds), (Right.READ,))
    if wrong := {name: rights for name, rights in lacking.items() if rights}:
        raise _not_allowed(settings, wrong)
    if absent:
        raise _error(
            f"There is no topic {', '.join(absent)} at {kafka.bootstrap_servers(settings)}",
            "create it, or start the local broker with `reco up`, which does.",
        )
    return {name: len(found[name].partitions) for name in there}


def _group(settings: Settings, group: str, with_rights: Mapping[str, Any], seconds: float) -> Any:
    """The group's description, or the error instead; asked again while it moves from one broker to another."""
    end = time.monotonic() + seconds
    while True:
        groups = _ask(settings, lambda client: client.describe_consumer_groups([group], **with_rights), seconds)
        found = groups[group]
        if not (isinstance(found, KafkaError) and found.code() in _MOVES) or time.monotonic() > end:
            return found
        time.sleep(_POLL_SECONDS)


def _lacking(found: Any, rights: Iterable[Right]) -> list[str] | None:
    """Rights that are missing; None where there is no such topic. `found`: a description, or the error instead."""
    if isinstance(found, KafkaError):
        if found.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if found.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            return [*rights] or ["DESCRIBE"]
        if found.code() in (KafkaError.GROUP_ID_NOT_FOUND, *_MOVES):  # who waits for it will know
            return []
        raise KafkaException(found)
    # A broker that tells no rights leaves it to the first use.
    allowed = {operation.name for operation in found.authorized_operations or ()}
    return [right for right in rights if allowed and right.value not in allowed]


def _error(fact: str, remedy: str, exit_code: int = USAGE) -> UserError:
    return UserError(f"{fact}: {remedy}", exit_code, remedy=remedy)


def _not_allowed(settings: Settings, wrong: Mapping[str, list[str]]) -> UserError:
    told = settings.kafka.security
    who = f"the user {told.username!r}" if told.username else "this client"
    what = "; ".join(f"{' and '.join(rights)} {name}" for name, rights in wrong.items())
    return _error(
        f"The broker at {kafka.bootstrap_servers(settings)} does not let {who} {what}",
        "have its owner add these ACLs (kafka-acls.sh --add --allow-principal …); docs/security.md lists what each "
        "command needs.",
        FAILED,
    )


def _ask(settings: Settings, ask: Callable[[AdminClient], Mapping[str, Future[Any]]], seconds: float) -> dict[str, Any]:
    """The answers by name, a KafkaError in place of one that the broker refused. Raises UserError where it is mute."""
    heard: list[KafkaError] = []
    quiet: dict[str, Any] = {"log_level": 0, "error_cb": heard.append}
    options = {**kafka.CALM, **kafka.client_options(settings), **quiet}
    client = AdminClient(options, logger=kafka.SILENT)
    asked = ask(client)
    end = time.monotonic() + seconds
    while not all(one.done() for one in asked.values()):
        wait(asked.values(), _POLL_SECONDS)
        client.poll(0)
        if any(map(_is_refusal, heard)):
            end = min(end, time.monotonic() + _OTHERS_SECONDS)
            if any(error.code() == KafkaError._ALL_BROKERS_DOWN for error in heard):
                raise _explained(settings, heard)
        elif heard and not any(error.str().find("Connect to ") >= 0 or error.code() in _NO_WAY for error in heard):
            # Somebody takes the call and hangs up: one of us speaks TLS, the other does not.
            end = min(end, time.monotonic() + _HANGS_UP_SECONDS)
        if time.monotonic() > end:
            raise _explained(settings, heard)
    found = {name: _answer(one) for name, one in asked.items()}
    if any(isinstance(one, KafkaError) and one.code() in _MUTE for one in found.values()):
        client.poll(0)
        raise _explained(settings, heard)
    return found


_MUTE = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, *_REFUSALS)


def _answer(one: Future[Any]) -> Any:
    try:
        return one.result()
    except KafkaException as error:
        return error.args[0]


def _is_refusal(error: KafkaError) -> bool:
    return error.code() in _REFUSALS or "SSL alert" in error.str()


def _explained(settings: Settings, heard: list[KafkaError]) -> UserError:
    """Why the broker does not answer, or not us."""
    servers, told = kafka.bootstrap_servers(settings), settings.kafka.security
    refusals = [error for error in heard if _is_refusal(error)]
    if not refusals:
        others = [error for error in heard if error.code() != KafkaError._ALL_BROKERS_DOWN]
        reason = kafka.reason_of(others[0]) if others else "it hangs up" if heard else "no answer in time"
        doubt = "; is kafka.security right?" if _OTHER_ROAD.search(reason) else ""
        return kafka.BrokerAwayError(servers, f"{reason}{doubt}")
    text = refusals[0].str()
    if "SSL alert" in text:
        return _error(
            f"The Kafka broker at {servers} does not take our certificate "
            f"({text.rpartition('::')[2].partition(':')[0]})",
            "see kafka.security.certificate_file and kafka.security.key.",
        )
    if refusals[0].code() != KafkaError._SSL:
        return _error(
            f"The Kafka broker at {servers} does not let the user {told.username!r} in by {told.mechanism} "
            f"({kafka.reason_of(refusals[0])})",
            "correct kafka.security.username and kafka.security.mechanism, or the secret that kafka.security.password "
            f"refers to ({told.password}).",
        )
    return _distrusted(settings, text)


def _distrusted(settings: Settings, text: str) -> UserError:
    """What is wrong with the broker's certificate, which librdkafka does not tell: one more handshake does."""
    address = text.partition("://")[2].partition("/")[0]
    broker = f"the Kafka broker at {address or kafka.bootstrap_servers(settings)}"
    code, reason = _probe(address, settings)
    if code in (_EXPIRED, _NOT_YET):
        return _error(
            f"The certificate of {broker} {'has expired' if code == _EXPIRED else 'is not valid yet'}",
            "have its owner renew it; until then nothing is sent there.",
            FAILED,
        )
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        return _error(
            f"The certificate of {broker} is for another name ({reason})",
            "name it in kafka.bootstrap_servers as its certificate does.",
        )
    return _error(
        f"The certificate of {broker} is signed by nobody whom we trust ({reason or text.rpartition(': ')[2]})",
        "let kafka.security.ca_file name the certificate of who signs it.",
    )


def _probe(address: str, settings: Settings) -> tuple[int, str]:
    """OpenSSL's code and words for what is wrong with the certificate at `host:port`; 0 where it finds nothing."""
    host, _, port = address.rpartition(":")
    ca = settings.kafka.security.ca_file
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        with (
            socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")),
        ):
            return 0, ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_code, error.verify_message
    except (OSError, ValueError):
        return 0, ""
