"""One broker with TLS, SCRAM and ACLs for all, topics and a user of each test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.common.kafka import create_topics
from jobs.common.settings import Kafka, Settings, load_settings
from tests.secure.broker import CERTIFIED, PASSWORD, SecureBroker
from tests.secure.rights import rights_of

Make = Callable[..., Settings]


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """The broker, running."""
    broker = SecureBroker(tmp_path_factory.mktemp("secure"))
    broker.start(180)
    yield broker
    broker.stop()


@pytest.fixture
def make(secure: SecureBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Make:
    """Settings with topics of the test's own and a user who may do what docs/security.md lists for these commands.

    The settings stand in `settings.yaml` of `tmp_path`; words override `kafka.security`, and `listener` the way in.
    """
    monkeypatch.setenv("ROAD_PASSWORD", PASSWORD)
    name = tmp_path.name.replace("_", "-")

    def new(*commands: str, listener: str = "secure", **security: Any) -> Settings:
        secure.add_user(name)
        topics = {key: f"{name}.{key}" for key in type(Settings().topics).model_fields if key != "partitions"}
        told = {
            "protocol": "SASL_SSL",
            "username": name,
            "password": "env:ROAD_PASSWORD",
            "ca_file": str(secure.ca_file),
            **security,
        }
        data = {
            "lake": {"root": str(tmp_path / "lake")},
            "kafka": {
                "bootstrap_servers": secure.at(listener),
                "security": {key: value for key, value in told.items() if value is not None},
            },
            "topics": topics,
            "stream": {"state_store": "memory", "sweep_minutes": 0, "summary_minutes": 0},
            "alerts": {
                "routes": str(tmp_path / "alerts.yaml"),
                "topic": f"{name}.state",
                "group": name,
                "folder": str(tmp_path / "alerts"),
            },
        }
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(data))
        settings = load_settings(tmp_path / "settings.yaml")
        plain = settings.model_copy(update={"kafka": Kafka(bootstrap_servers=secure.bootstrap_servers)})
        create_topics(secure.bootstrap_servers, plain)
        for command in commands:
            secure.allow(settings.kafka.security.username or CERTIFIED, *rights_of(settings, command))
        return settings

    return new
