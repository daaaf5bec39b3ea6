"""The file of routes: what it says, and every mistake in it by line and key."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.alerts.routes import Hours, read_routes
from jobs.cli.main import main
from jobs.common.errors import UserError
from tests.alerts.support import routes_of

ROOT = Path(__file__).parents[2]
HOOK = {"kind": "webhook", "url": "http://127.0.0.1:1/", "secret": "env:S"}


def test_the_worked_example_is_right_and_holds_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["alerts", "--check", str(ROOT / "conf/alerts.yaml")])
    assert end.value.code == 0
    assert "money that burns" in capsys.readouterr().out


def test_the_first_route_counts_unless_it_says_also(tmp_path: Path) -> None:
    routes = routes_of(
        tmp_path,
        sinks=dict.fromkeys(("pager", "chat", "mail", "feeds"), HOOK),
        routes=[
            {"name": "a", "severity": ["CRITICAL"], "sinks": ["pager"], "also": True},
            {"name": "b", "kind": ["MISSING_*"], "supplier": ["SUP-0*"], "sinks": ["chat"]},
            {"name": "c", "kind": ["FEED_SILENT"], "sinks": ["feeds"]},
            {"name": "d", "sinks": ["mail"]},
        ],
    )
    cases = [
        ("SUP-001", ["MISSING_AGODA"], "CRITICAL", ["pager", "chat"]),
        ("SUP-101", ["MISSING_AGODA"], "CRITICAL", ["pager", "mail"]),
        ("SUP-001", ["PRICE_MISMATCH", "MISSING_AGODA"], "LOW", ["chat"]),
        ("SUP-001", ["FEED_SILENT"], "LOW", ["feeds"]),
        ("SUP-001", ["PRICE_MISMATCH"], "LOW", ["mail"]),
    ]
    for supplier, kinds, severity, sinks in cases:
        assert routes.sinks_for(supplier, kinds, severity, 0.0) == sinks


@pytest.mark.parametrize(
    ("hours", "at", "holds"),
    [
        ({}, "2026-03-09T00:00", True),
        ({"since": "08:00", "until": "18:00"}, "2026-03-09T08:00", True),
        ({"since": "08:00", "until": "18:00"}, "2026-03-09T18:00", False),
        ({"since": "08:00", "until": "18:00", "zone": "Asia/Bangkok"}, "2026-03-09T01:30", True),
        ({"since": "08:00", "until": "18:00", "zone": "Asia/Bangkok"}, "2026-03-09T11:30", False),
        ({"days": ["mon"], "since": "22:00", "until": "06:00"}, "2026-03-09T23:00", True),
        ({"days": ["mon"], "since": "22:00", "until": "06:00"}, "2026-03-10T05:59", True),
        ({"days": ["mon"], "since": "22:00", "until": "06:00"}, "2026-03-09T05:59", False),
        ({"days": ["tue"]}, "2026-03-09T12:00", False),
        # Clocks in Berlin: from 2026-03-29 01:00 UTC two hours ahead, from 2026-10-25 01:00 UTC one.
        ({"since": "08:00", "until": "18:00", "zone": "Europe/Berlin"}, "2026-03-28T06:59", False),
        ({"since": "08:00", "until": "18:00", "zone": "Europe/Berlin"}, "2026-03-29T06:00", True),
        ({"since": "08:00", "until": "18:00", "zone": "Europe/Berlin"}, "2026-03-29T16:00", False),
        ({"days": ["sat"], "since": "22:00", "until": "02:30", "zone": "Europe/Berlin"}, "2026-03-29T00:59", True),
        ({"days": ["sat"], "since": "22:00", "until": "02:30", "zone": "Europe/Berlin"}, "2026-03-29T01:00", False),
        ({"days": ["sat"], "since": "22:00", "until": "02:30", "zone": "Europe/Berlin"}, "2026-10-25T00:29", True),
        ({"days": ["sat"], "since": "22:00", "until": "02:30", "zone": "Europe/Berlin"}, "2026-10-25T01:31", False),
    ],
)
def test_hours(hours: dict[str, Any], at: str, holds: bool) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    assert Hours(**hours).holds(moment) is holds


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sinks": {}}, "sinks: must name at least one sink"),
    ({"sinks": {"hook": {**HOOK, "kind": "fax"}}}, "sinks.hook.kind: must be one of slack, email"),
    ({"sinks": {"hook": {**HOOK, "secret": "hunter2"}}}, "sinks.hook.secret: a secret is not written down"),
    ({"sinks": {"hook": {**HOOK, "url": "http://far.example/"}}}, "sinks.hook.url: must be https"),
    ({"sinks": {"hook": {**HOOK, "url": "https://u:p@far.example/"}}}, "without user and password"),
    ({"sinks": {"hook": {**HOOK, "fallback": "none"}}}, "sinks.hook.fallback: there is no sink none"),
    ({"sinks": {"hook": {**HOOK, "fallback": "hook"}}}, "must be another sink"),
    ({"sinks": {"hook": {**HOOK, "timeout": "2h"}}}, "sinks.hook.timeout: must be from 1s to 60s"),
    ({"routes": [{"name": "a", "severity": ["HIGH"], "sinks": ["hook"]}]}, "the last route must match everything"),
    ({"routes": [{"name": "a", "sinks": ["hok"]}]}, "routes.0.sinks: there is no sink hok"),
    ({"routes": [{"name": "a", "sinks": ["hook"], "severty": ["LOW"]}]}, "severty: unknown key"),
    ({"routes": [{"name": "a", "sinks": ["hook"], "hours": {"zone": "Mars/X"}}]}, "must be a time zone"),
    ({"routes": [{"name": "a", "sinks": ["hook"], "hours": {"since": "25:00"}}]}, "must be a time of day like 08:00"),
    ({"group": {"wait": "30"}}, "group.wait: must be a duration with a unit"),
    ({"version": 2}, "version: must be 1"),
    ({"sinks": {"hook": HOOK, "a+b": HOOK}}, "sinks.a+b: a sink's name is letters"),
    ({"link": "javascript:alert(1)"}, "link: must be like https://"),
    ({"link": "https://reco.example/{kind}"}, "link: must be like https://"),
    ({"digest": ["mial"]}, "digest: there is no sink mial"),
    (
        {"maintenance": [{"supplier": ["*"], "since": "2026-03-01T00:00", "until": "2026-03-02T00:00Z", "why": "x"}]},
        "must be a time with its offset",
    ),
    (
        {"maintenance": [{"supplier": ["*"], "since": "2026-03-02T00:00Z", "until": "2026-03-02T00:00Z", "why": "x"}]},
        "until: must be after since",
    ),
]


@pytest.mark.parametrize(("parts", "said"), WRONG)
def test_mistakes_are_named(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as wrong:
        routes_of(tmp_path, **parts)
    assert said in str(wrong.value)
    assert "alerts.yaml:" in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


def test_mistakes_are_named_all_at_once(tmp_path: Path) -> None:
    sinks = {"hook": {**HOOK, "fallback": "hok"}, "pager": {**HOOK, "timeout": "2h", "fallback": "pager"}}
    window = {"supplier": ["*"], "since": "2026-03-02T00:00Z", "until": "2026-03-02T00:00Z", "why": "x"}
    routes = [
        {"name": "a", "sinks": ["hoook"], "severty": ["LOW"]},
        {"name": "b", "severity": ["HIGH"], "sinks": ["pager"], "alsoo": True},
    ]
    with pytest.raises(UserError) as wrong:
        routes_of(tmp_path, flood=0, sinks=sinks, routes=routes, digest=["mial"], maintenance=[window])
    said = str(wrong.value)
    for sentence in (
        "flood: must be greater than or equal to 1",
        "sinks.pager.timeout: must be from 1s to 60s",
        "sinks.hook.fallback: there is no sink hok",
        "sinks.pager.fallback: must be another sink",
        "routes.0.severty: unknown key",
        "routes.1.alsoo: unknown key",
        "routes.0.sinks: there is no sink hoook",
        "routes: the last route must match everything",
        "digest: there is no sink mial",
        "maintenance.0.until: must be after since",
    ):
        assert said.count(sentence) == 1, said
    assert len(said.splitlines()) == 10


@pytest.mark.parametrize("parts", [{"routes": "x"}, {"routes": ["x"]}, {"digest": [1]}, {"maintenance": {}}])
def test_what_has_another_shape_is_said_so(tmp_path: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"alerts\.yaml:\d+: (routes|digest|maintenance)"):
        routes_of(tmp_path, **parts)


@pytest.mark.parametrize(
    ("mail", "said"),
    [
        ({"security": "none", "host": "far.example"}, "none is for this machine only"),
        ({"security": "tls", "host": "far.example", "username": "u"}, "and password belong together"),
    ],
)
def test_mail_is_not_sent_in_the_open(tmp_path: Path, mail: dict[str, str], said: str) -> None:
    config = {"kind": "email", "sender": "a@b.example", "to": ["c@d.example"], **mail}
    with pytest.raises(UserError, match=said):
        routes_of(tmp_path, sinks={"mail": config}, routes=[{"name": "all", "sinks": ["mail"]}])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no alerts file"):
        read_routes(tmp_path / "none.yaml")
