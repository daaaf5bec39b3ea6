"""What tests of the poller share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli.broker import Broker
from jobs.common.settings import Kafka, Settings
from jobs.ingest.polling import web
from jobs.ingest.polling.deliver import Sink
from tests.ingest.polling.support import Rig


@pytest.fixture(scope="session")
def sink(broker: Broker) -> Sink:
    """One producer: each takes a second to get its id from the broker."""
    return Sink(Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers)), lambda: False)


@pytest.fixture
def rig(tmp_path: Path, broker: Broker, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A poller's surroundings; what is asked again is asked again soon."""
    monkeypatch.setattr(web, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(web, "_JITTER", 0.01)
    made = Rig(tmp_path, broker.bootstrap_servers, sink)
    yield made
    made.close()
