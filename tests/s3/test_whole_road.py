"""The whole road on S3: normalise, match, close, replay, console; each call within its policy; faults on the way."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.broker import Broker
from jobs.common.lake import append_version, open_table, read
from jobs.common.law import measure
from jobs.common.settings import Settings
from tests.console.conftest import asking, make_users, serving
from tests.oracle.normalise import Raw
from tests.s3 import iam
from tests.s3.conftest import BUCKET, aws
from tests.s3.proxy import Faults
from tests.streaming.feed import new_settings, produce
from tests.streaming.nrt import T0, beats, both, event

ROOT = "road"
DAY = T0.date().isoformat()
SECONDS = 1800
pytestmark = pytest.mark.long


def reco(settings: Settings, faults: Faults, *words: str, **more: str) -> Any:
    """A command in a process of its own, its JSON."""
    topics = {f"RECO_TOPICS__{name.upper()}": str(value) for name, value in settings.topics.model_dump().items()}
    env: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RECO_")},
        **aws(faults.url),
        **topics,
        "RECO_LAKE__ROOT": settings.lake.root,
        "RECO_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "RECO_STREAM__STATE_STORE": "memory",
        "RECO_SPARK__MASTER": "local[2]",
        **more,
    }
    command = [sys.executable, "-m", "jobs.cli.main", *words, "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout) if done.stdout.strip() else None


def amiss(faults: Faults, policy: str) -> list[str]:
    """What was asked since the last time and the policy does not allow, and what it allows and nobody asked for."""
    told = faults.calls()
    refused = [f"{policy} refuses {need}" for need in sorted(iam.refused(policy, ROOT, told))]
    return refused + [f"{policy} allows {one} for nothing" for one in iam.unused(policy, ROOT, told)]


def records(first: int, count: int, minutes: float) -> Sequence[Raw]:
    """Pairs, one lonely event, one poison, and heartbeats long after."""
    pairs = [one for n in range(first, first + count) for one in both(f"BK-{n}", minutes + n / 100)]
    poison = Raw("agoda.raw.activity", 1, 0, b"x", b"{", T0)
    return [*pairs, event("agoda", f"BK-ALONE-{first}", minutes), poison, *beats(minutes + 200)]


def test_the_whole_road_within_the_policies(broker: Broker, faults: Faults, tmp_path: Path) -> None:
    settings = new_settings(f"s3a://{BUCKET}/{ROOT}", broker.bootstrap_servers, "s3road")
    console = settings.console.model_copy(
        update={"users_file": tmp_path / "users.yaml", "audit_file": tmp_path / "audit.jsonl"}
    )
    settings = settings.model_copy(update={"console": console})
    rate = {"rate_date": T0.date(), "currency": "EUR", "usd_per_unit": Decimal("1.08"), "fx_version": 1}
    append_version(settings, "fx_rates", [{**rate, "loaded_at": T0}], 1, None)
    produce(settings, records(0, 20, 0))
    faults.calls()
    reco(settings, faults, "stream", "--available-now")
    wrong = amiss(faults, "stream")
    assert {row["outcome"] for row in rows(settings, "nrt_results")} == {"MATCHED", "MISSING_SUPPLIER"}
    faults.calls()
    reco(settings, faults, "daily", "--date", DAY)
    [closed] = reco(settings, faults, "daily", "--date", DAY)  # a second revision, which has a table of its own
    wrong += amiss(faults, "daily")
    assert closed["facts"] == 21
    assert reco(settings, faults, "replay", closed["close_id"])["equal"] is True
    wrong += amiss(faults, "replay")
    tokens = make_users(settings)
    with serving(settings) as url, asking(url, tokens) as ask:
        for path in ("/", "/exceptions", "/closes", "/quarantine", "/suppliers"):
            assert ask("ann", "GET", path).status_code == 200
        found = ask("ann", "GET", "/api/v1/exceptions").json()["exceptions"]
        what = {"request_id": "s3-road-0001", "action": "ACKNOWLEDGE", "ids": [found[0]["exception_id"]]}
        assert ask("ann", "POST", "/api/v1/exceptions/actions", json=what).json()["written"] == 1
    wrong += amiss(faults, "console")
    assert wrong == []


@pytest.mark.parametrize("percent", [1, 5, 20])
def test_the_whole_road_where_the_store_fails(broker: Broker, faults: Faults, percent: int) -> None:
    settings = new_settings(f"s3a://{BUCKET}/failing{percent}", broker.bootstrap_servers, f"s3failing{percent}")
    faults.spoil(percent)
    for number in range(2):
        produce(settings, records(100 * number, 20, 60 * number))
        reco(settings, faults, "stream", "--available-now")
    [closed] = reco(settings, faults, "daily", "--date", DAY)
    assert reco(settings, faults, "replay", closed["close_id"])["equal"] is True
    assert sum(faults.done().values()) > 0
    faults.spoil(0)
    assert closed["facts"] == 42
    law = measure(settings)
    assert law is not None
    assert law.holds
    silver = rows(settings, "activity")
    assert len(silver) == len({(row["topic"], row["partition"], row["offset"]) for row in silver}) == 82


def test_several_match_applications_within_what_sizing_tells(broker: Broker, faults: Faults) -> None:
    placed = {"FAST": 0, "SLOW": 1}
    settings = new_settings(
        f"s3a://{BUCKET}/{ROOT}/groups", broker.bootstrap_servers, "s3groups", match_groups=2, match_suppliers=placed
    )
    env = {"RECO_STREAM__MATCH_GROUPS": "2", "RECO_STREAM__MATCH_SUPPLIERS": json.dumps(placed)}
    produce(settings, [*records(0, 5, 0), *both("BK-SLOW", 1, "SLOW"), *beats(300)])
    faults.calls()
    reco(settings, faults, "stream", "--available-now", **env)
    for group in "01":
        reco(settings, faults, "stream", "--available-now", **env, RECO_STREAM__MATCH_GROUP=group)
    reco(settings, faults, "stream", "--only", "gather", "--available-now", **env)
    refused = {key for _, key in iam.refused("stream", f"{ROOT}/groups", faults.calls())}
    # Hadoop looks for a file in the place of the folder that the lake is in; where that is refused it goes on.
    above = {ROOT, f"{ROOT}/"}
    assert [key for key in refused - above if not key.startswith(f"{ROOT}/groups/groups")] == []
    found = rows(settings, "nrt_results")
    assert {(row["supplier_id"], row["outcome"]) for row in found} == {
        ("FAST", "MATCHED"),
        ("FAST", "MISSING_SUPPLIER"),
        ("SLOW", "MATCHED"),
    }
    assert len({row["result_id"] for row in found}) == len(found) == 7


def rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    return read(open_table(settings, name), name).to_dicts()
