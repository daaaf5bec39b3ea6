"""The rights that docs/security.md lists, as ACLs."""

import re
from pathlib import Path

from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]

from jobs.common.settings import Settings
from tests.secure.broker import Right

DOC = Path(__file__).parents[2] / "docs/security.md"
_KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}


def rights_of(settings: Settings, command: str) -> list[Right]:
    """What a row of the table gives: `READ topics.agoda_raw`, `READ group alerts.group`, …"""
    (row,) = re.findall(rf"^\| `reco {command}[^|]*\| (.*) \|$", DOC.read_text(), re.MULTILINE)
    found = []
    for operation, kind, key in re.findall(r"(\w+) (?:(group|transactional id) )?`(\w+\.\w+)`", row):
        section, _, field = key.partition(".")
        found.append((_KINDS[kind or "topic"], getattr(getattr(settings, section), field), AclOperation[operation]))
    assert found
    return found
