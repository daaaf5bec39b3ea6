"""The connectors' configuration, by its shape: it reads the table's columns, and routes to the contract's topics."""

import json
import re
from pathlib import Path

import pytest

from jobs.common.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_the_router_reads_our_columns_and_writes_to_our_topics(kind: str) -> None:
    config = json.loads((ROOT / f"conf/debezium/outbox-{kind}.json").read_text())["config"]
    ddl = (ROOT / f"jobs/ingest/outbox-{kind}.sql").read_text()
    columns = re.findall(
        r"^  (\w+) +\w", ddl.split("create table if not exists outbox (")[1].split(");")[0], re.MULTILINE
    )
    router = {name.removeprefix("transforms.outbox."): value for name, value in config.items()}
    named = {name: router[name] for name in router if name.startswith("table.field.") or name == "route.by.field"}
    assert set(named.values()) == {"id", "aggregateid", "payload", "aggregatetype"} <= set(columns)
    assert router["type"] == "io.debezium.transforms.outbox.EventRouter"
    assert config["table.include.list"].endswith(".outbox")
    # Kafka Connect writes groups as Java does.
    to = router["route.topic.replacement"].replace("$1", r"\1")
    topics = [re.sub(router["route.topic.regex"], to, side) for side in ("agoda", "supplier")]
    known = Settings.model_validate({}).topics
    assert topics == [known.agoda_raw, known.supplier_raw]
    # The payload goes on as the text it is, and updates of published_at and deletions are not events.
    assert router["table.expand.json.payload"] == "false"
    assert config["value.converter"].endswith(".StringConverter")
    assert config["skipped.operations"] == "u,d,t"
    assert not [name for name in config if "password" in name and "${" not in config[name]]
