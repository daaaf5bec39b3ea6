"""Sinks against servers that behave like the real ones: what is sent, changed, refused, slow."""

import email
import email.policy
import hashlib
import hmac
import json
import shutil
import smtplib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from jobs.alerts.desk import Desk, sender_of
from jobs.alerts.model import Incident, Slot, Summary
from jobs.alerts.plan import Action, Delivery
from jobs.alerts.routes import Routes
from jobs.alerts.sink_email import mail_of
from jobs.alerts.sink_slack import blocks
from jobs.alerts.sinks import Alertmanager, SinkFailedError, retry_after
from jobs.alerts.wording import Message
from jobs.cli.broker import free_port
from jobs.cli.main import main
from tests.alerts.support import Core, FakeHttp, Request, change, routes_of, wait_for

BEGAN = 1_772_000_000.0
ROOT = Path(__file__).parents[2]


def message(action: Action = Action.TRIGGER, title: str = "SUP-007: 412 payments", **more: Any) -> Message:
    parts: dict[str, Any] = {
        "lines": ("4,120.00 USD at risk", "For example <P-1> & P-2"),
        "severity": "CRITICAL",
        "suppliers": ("SUP-007",),
        "kinds": ("TIMESTAMP_SKEW",),
        "count": 412,
        "amount": Decimal("4120.00"),
        "began": BEGAN,
        "link": "https://reco.example/i/abc",
        **more,
    }
    return Message("abc", f"abc:{action}", action, title, **parts)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "KEY", "PASS"):
        monkeypatch.setenv(name, f"{name.lower()}-secret")


@pytest.fixture
def http() -> Iterator[FakeHttp]:
    server = FakeHttp()
    yield server
    server.close()


def sink(tmp_path: Path, **config: Any) -> Any:
    """A sender made from a file, as the service makes it."""
    routes = routes_of(tmp_path, sinks={"it": config}, routes=[{"name": "all", "sinks": ["it"]}])
    return sender_of("it", routes.sinks["it"])


def slack_like(http: FakeHttp) -> None:
    """Answers as Slack does: ok with a ts, errors in the body."""

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        ts = f"{len(http.requests)}.0001"
        channel = body_of(request)["channel"]
        return (
            200,
            {"Content-Type": "application/json"},
            json.dumps({"ok": True, "channel": channel, "ts": ts}).encode(),
        )

    http.answer = answer


def body_of(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return dict(request.json)
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def test_slack_has_one_message_an_incident_which_changes(tmp_path: Path, http: FakeHttp) -> None:
    slack_like(http)
    slack = sink(tmp_path, kind="slack", token="env:TOKEN", channel="C1", url=http.url)
    handle = slack.send(message(), {})
    assert handle == {"channel": "C1", "ts": "0.0001"}
    assert slack.send(message(Action.UPDATE), handle) == handle
    assert slack.send(message(Action.REMIND), handle) == handle
    assert slack.send(message(Action.RESOLVE), handle) == handle
    paths = [request.path for request in http.requests]
    assert paths == ["/chat.postMessage", "/chat.update", "/chat.update", "/chat.postMessage", "/chat.update"]
    assert http.requests[0].headers["authorization"] == "Bearer token-secret"
    assert body_of(http.requests[3])["thread_ts"] == handle["ts"]
    posted = [body_of(request) for request in http.requests if request.path == "/chat.postMessage"]
    assert {str(one[name]).lower() for one in posted for name in ("unfurl_links", "unfurl_media")} <= {"false", "0"}
    assert {body_of(request)["ts"] for request in http.requests if request.path == "/chat.update"} == {handle["ts"]}


def test_slack_shows_ids_as_they_are_and_keeps_to_its_limits() -> None:
    header, section, actions = blocks(message(title="x" * 500, lines=("<!channel> & <@U1>", "y" * 9000)))
    assert len(header["text"]["text"]) <= 150
    assert len(section["text"]["text"]) <= 3000
    assert section["text"]["text"].startswith("&lt;!channel&gt; &amp; &lt;@U1&gt;")
    assert section["text"]["verbatim"] is True  # no address in an id becomes a link
    assert header["text"]["text"].endswith("x…")
    cut = blocks(message(lines=("y" * 2_996 + "<&",)))[1]["text"]["text"]
    assert cut == "y" * 2_996 + "…"
    assert actions["elements"][0]["url"] == "https://reco.example/i/abc"


@pytest.mark.parametrize("why", ["message_not_found", "channel_not_found", "is_archived"])
def test_a_slack_message_that_is_gone_is_sent_anew(tmp_path: Path, http: FakeHttp, why: str) -> None:
    slack_like(http)
    well = http.answer

    def gone(request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/chat.update":
            return 200, {"Content-Type": "application/json"}, f'{{"ok":false,"error":"{why}"}}'.encode()
        return well(request)

    http.answer = gone
    slack = sink(tmp_path, kind="slack", token="env:TOKEN", channel="C1", url=http.url)
    assert slack.send(message(Action.UPDATE), {"channel": "C1", "ts": "9.9"})["ts"] == "1.0001"


@pytest.mark.parametrize(
    ("answer", "why", "wait"),
    [
        ((429, {"Retry-After": "7"}, b'{"ok":false,"error":"ratelimited"}'), "429 ratelimited", 7.0),
        ((200, {}, b'{"ok":false,"error":"channel_not_found"}'), "200 channel_not_found", None),
        ((503, {}, b"<html>busy</html>"), "503|does not answer", None),
    ],
)
def test_slack_says_no(tmp_path: Path, http: FakeHttp, answer: Any, why: str, wait: float | None) -> None:
    http.answer = lambda _request: (answer[0], {"Content-Type": "application/json", **answer[1]}, answer[2])
    slack = sink(tmp_path, kind="slack", token="env:TOKEN", channel="C1", url=http.url)
    with pytest.raises(SinkFailedError, match=why) as failed:
        slack.send(message(), {})
    assert failed.value.retry_after == wait
    assert "secret" not in str(failed.value)


def test_pagerduty_goes_from_trigger_to_resolve_under_one_key(tmp_path: Path, http: FakeHttp) -> None:
    http.answer = lambda _request: (202, {}, b'{"status":"success"}')
    pager = sink(tmp_path, kind="pagerduty", routing_key="env:KEY", url=http.url)
    for action in (Action.TRIGGER, Action.UPDATE, Action.ACKNOWLEDGE, Action.RESOLVE):
        pager.send(message(action), {})
    told = [request.json for request in http.requests]
    assert [one["event_action"] for one in told] == ["trigger", "trigger", "acknowledge", "resolve"]
    assert {one["dedup_key"] for one in told} == {"reco-abc"}
    assert {one["routing_key"] for one in told} == {"key-secret"}
    payload = told[0]["payload"]
    assert (payload["severity"], payload["source"], payload["summary"]) == (
        "critical",
        "SUP-007",
        "SUP-007: 412 payments",
    )
    assert payload["timestamp"] == "2026-02-25T06:13:20.000Z"
    pager.close()


def test_pagerduty_has_a_host_for_europe(tmp_path: Path) -> None:
    pager = sink(tmp_path, kind="pagerduty", routing_key="env:KEY", region="eu")
    assert pager._url == "https://events.eu.pagerduty.com/v2/enqueue"
    pager.close()


@pytest.mark.parametrize("status", [400, 429, 500, 302])
def test_what_is_no_success_is_a_failure(tmp_path: Path, http: FakeHttp, status: int) -> None:
    http.answer = lambda _request: (status, {"Retry-After": "3", "Location": http.url}, b"")
    pager = sink(tmp_path, kind="pagerduty", routing_key="env:KEY", url=http.url)
    with pytest.raises(SinkFailedError, match=f"it answered {status}") as failed:
        pager.send(message(), {})
    assert failed.value.retry_after == 3
    assert len(http.requests) == 1
    pager.close()


def test_a_webhook_can_be_verified_and_a_repeat_known(tmp_path: Path, http: FakeHttp) -> None:
    hook = sink(tmp_path, kind="webhook", url=http.url, secret="env:KEY")
    hook.send(message(), {})
    hook.send(message(), {})
    first, second = http.requests
    stamp = first.headers["x-reco-timestamp"]
    proof = hmac.new(b"key-secret", stamp.encode() + b"." + first.body, hashlib.sha256).hexdigest()
    assert first.headers["x-reco-signature"] == f"v1={proof}"
    assert abs(int(stamp) - time.time()) < 60
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "abc:trigger"
    assert first.json["amountAtRiskUsd"] == "4120"
    hook.close()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(None, None), ("5", 5.0), ("-1", 0.0), ("99999", 900.0), ("soon", None), ("nan", None)],
)
def test_retry_after(said: str | None, seconds: float | None) -> None:
    assert retry_after(said) == seconds


class Mailbox:
    """What the SMTP server took. `refuse`: receivers that it does not know."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.refuse: set[str] = set()

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refuse:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        found = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        return "250 OK"

    def login(self, _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any) -> AuthResult:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"pass-secret")


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def smtp(mailbox: Mailbox, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Starts a server; returns the sink's configuration for it."""
    running: list[Controller] = []

    def start(*, secure: bool) -> dict[str, Any]:
        more: dict[str, Any] = {}
        config: dict[str, Any] = {"kind": "email", "sender": "reco@a.example", "to": ["x@b.example", "y@b.example"]}
        if secure:
            import ssl

            authority = trustme.CA()
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            more = {
                "tls_context": context,
                "require_starttls": True,
                "authenticator": mailbox.login,
                "auth_required": True,
            }
            config |= {"username": "reco", "password": "env:PASS", "ca_file": str(tmp_path / "ca.pem")}
        port = free_port()
        controller = Controller(mailbox, hostname="127.0.0.1", port=port, **more)
        controller.start()
        running.append(controller)
        return {**config, "host": "localhost", "port": port, "security": "starttls" if secure else "none"}

    yield start
    for one in running:
        one.stop()


def test_a_mail_by_starttls_with_login_in_one_thread(
    tmp_path: Path, mailbox: Mailbox, smtp: Callable[..., dict[str, Any]]
) -> None:
    mail = sink(tmp_path, **smtp(secure=True))
    handle = mail.send(message(), {})
    assert mail.send(message(Action.RESOLVE, title="Resolved: it"), handle) == handle
    first, second = mailbox.mails
    assert mailbox.logins[0] == ("reco", "pass-secret")
    assert first["Subject"] == "[CRITICAL] SUP-007: 412 payments"
    assert second["In-Reply-To"] == first["Message-ID"] == handle["first"]
    plain, rich = first.get_body(("plain",)), first.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert "For example <P-1> & P-2" in plain.get_content()
    assert "For example &lt;P-1&gt; &amp; P-2" in rich.get_content()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, mailbox: Mailbox, smtp: Callable[..., dict[str, Any]]
) -> None:
    mail = sink(tmp_path, **{**smtp(secure=True), "ca_file": None})
    with pytest.raises(SinkFailedError, match="SSLCertVerificationError"):
        mail.send(message(), {})
    assert mailbox.logins == []


def test_a_receiver_that_is_refused_does_not_make_the_others_get_it_twice(
    tmp_path: Path, mailbox: Mailbox, smtp: Callable[..., dict[str, Any]]
) -> None:
    mail = sink(tmp_path, **smtp(secure=False))
    mailbox.refuse = {"x@b.example"}
    mail.send(message(), {})
    assert len(mailbox.mails) == 1
    mailbox.refuse |= {"y@b.example"}
    with pytest.raises(SinkFailedError, match="does not answer"):
        mail.send(message(), {})


def test_a_repeated_mail_has_the_same_id_and_titles_cannot_add_headers() -> None:
    one, two = (mail_of(message(), "reco@a.example", ["x@b.example"], {}) for _ in range(2))
    assert one["Message-ID"] == two["Message-ID"]
    with pytest.raises(ValueError, match="linefeed"):
        mail_of(message(title="a\r\nBcc: evil@c.example"), "reco@a.example", ["x@b.example"], {})
    assert smtplib.SMTPException is not None


def test_hostile_ids_stay_text_from_the_stream_to_the_sinks(tmp_path: Path) -> None:
    supplier, activity = "S\r\nBcc: evil@c.example <b>\u202e", "<!channel> <img src=x> https://evil.example/x.png"
    core = Core(routes_of(tmp_path, link="https://reco.example/exceptions?{filter}"))
    core.tell(change(activity, supplier=supplier))
    (told,) = core.run(60)
    mail = mail_of(told, "reco@a.example", ["x@b.example"], {})
    assert (mail["Bcc"], "\n" in mail["Subject"], "\u202e" in mail["Subject"]) == (None, False, False)
    rich = mail.get_body(("html",))
    assert rich is not None
    assert "<img" not in rich.get_content()
    assert "<b>" not in rich.get_content()
    shown = json.dumps(blocks(told))
    assert "<!channel>" not in shown
    assert "<img" not in shown
    assert told.link is not None
    assert not set('<>" \r\n') & set(told.link)


def test_nothing_that_is_logged_or_shown_has_a_secret(
    tmp_path: Path, http: FakeHttp, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sinks that refuse, answer what they were sent, or are not there; the address of a webhook may be one too."""
    http.answer = lambda request: (500, {"X-Echo": request.headers.get("authorization", "")}, request.body)
    sinks = {
        "slack": {"kind": "slack", "token": "env:TOKEN", "channel": "C1", "url": http.url},
        "pager": {"kind": "pagerduty", "routing_key": "env:KEY", "url": http.url},
        "hook": {"kind": "webhook", "secret": "env:KEY", "url": f"{http.url}T0/path-secret"},
        "gone": {"kind": "webhook", "secret": "env:KEY", "url": "http://127.0.0.1:1/path-secret", "timeout": "1s"},
    }
    routes_of(tmp_path, sinks=sinks, routes=[{"name": "all", "sinks": ["hook"]}])
    words = [word for name in sinks for word in ("--test", name)]
    monkeypatch.setenv("RECO_ALERTS__ROUTES", str(tmp_path / "alerts.yaml"))
    with pytest.raises(SystemExit) as end:
        main(["alerts", *words, "--debug"])
    assert end.value.code == 1
    told = "".join(capfd.readouterr())
    assert told.count("it answered 500") == 3
    assert "-secret" not in told


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's, where it is or can be had; returns its address."""
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "conf.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    port = free_port()
    options = [f"--config.file={folder / 'conf.yml'}", f"--storage.path={folder / 'data'}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    command = [*_program(), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _is_ready(port), 30, "Alertmanager")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _program() -> list[str]:
    """The installed one, or Debian's in a view of the files in which its templates are where it looks for them."""
    if (installed := shutil.which("prometheus-alertmanager")) is not None:
        return [installed]
    command = [sys.executable, str(ROOT / "tools/debian.py"), "prometheus-alertmanager"]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if fetched.returncode:
        pytest.skip(fetched.stderr.strip())
    files = Path(fetched.stdout.strip())
    view = f"mount -t overlay overlay -o lowerdir={files}/usr/share:/usr/share /usr/share"
    if subprocess.run(["unshare", "-rm", "sh", "-c", view], capture_output=True, check=False).returncode:
        pytest.skip("no Alertmanager: it is not installed, and this machine allows no mounts of one's own")
    program = files / "usr/bin/prometheus-alertmanager"
    return ["unshare", "-rm", "sh", "-c", f'{view} && exec "$0" "$@"', str(program)]


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _alerts(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        return list(json.loads(answer.read()))


def test_alertmanager_shows_an_incident_while_it_lasts(tmp_path: Path, alertmanager: str) -> None:
    sender = sink(tmp_path, kind="alertmanager", url=alertmanager, refresh="30s")
    sender.send(message(began=time.time()), {})
    wait_for(lambda: len(_alerts(alertmanager)) == 1, 10, "alert")
    sender.send(message(Action.UPDATE, began=time.time() - 60, title="SUP-007: 500 payments"), {})
    wait_for(lambda: _alerts(alertmanager)[0]["annotations"]["summary"].startswith("SUP-007: 500"), 10, "change")
    (alert,) = _alerts(alertmanager)
    assert alert["labels"] == {"alertname": "RecoIncident", "incident": "abc", "service": "reco", "supplier": "SUP-007"}
    assert alert["annotations"]["amount_at_risk_usd"] == "4120"
    sender.send(message(Action.RESOLVE), {})
    wait_for(lambda: _alerts(alertmanager) == [], 10, "end")
    assert isinstance(sender, Alertmanager)
    sender.close()


def delivery(sink_name: str, item: str = "abc") -> Delivery:
    summary = Summary(count=1)
    incident = Incident(item, Slot("SUP-007", severity="HIGH"), BEGAN, BEGAN, summary, summary)
    return Delivery(sink_name, Action.TRIGGER, incident)


def two_hooks(tmp_path: Path, first: str, second: str) -> Routes:
    hook = {"kind": "webhook", "secret": "env:KEY", "timeout": "5s"}
    sinks = {"first": {**hook, "url": first, "fallback": "second"}, "second": {**hook, "url": second}}
    return routes_of(tmp_path, sinks=sinks, routes=[{"name": "all", "sinks": ["first", "second"]}])


def test_a_slow_sink_holds_nobody_else(tmp_path: Path, http: FakeHttp) -> None:
    hold = [True]

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        while hold[0] and request.path == "/slow":
            time.sleep(0.01)
        return 200, {}, b""

    http.answer = answer
    desk = Desk(two_hooks(tmp_path, f"{http.url}slow", f"{http.url}fast"))
    desk.give(delivery("first"), message())
    for _ in range(5):
        assert desk.can_take("second", "abc")
        desk.give(delivery("second"), message())
        assert [result.delivery.sink for result in desk.results(5)] == ["second"]
    assert not desk.can_take("first", "other")
    hold[0] = False
    assert [result.why for result in desk.results(5)] == [None]
    desk.close()


def test_a_sink_that_neither_takes_nor_refuses_is_stood_in_for(tmp_path: Path, http: FakeHttp) -> None:
    """It sends a byte now and then, so that no timeout ends it."""
    clock, hold = [1_000.0], [True]

    def answer(_request: Request) -> tuple[int, dict[str, str], bytes]:
        while hold[0]:
            time.sleep(0.01)
        return 200, {}, b""

    http.answer = answer
    desk = Desk(two_hooks(tmp_path, http.url, http.url), lambda: clock[0])
    desk.give(delivery("first"), message())
    clock[0] += 10
    assert desk.stuck("first") is None
    clock[0] += 1
    stuck = desk.stuck("first")
    assert stuck is not None
    assert stuck.why == "first: it neither takes nor refuses a message"
    assert not desk.is_down("first", "abc")
    clock[0] += 109
    assert desk.is_down("first", "abc")
    assert not desk.is_down("second", "abc")
    hold[0] = False
    assert [result.why for result in desk.results(5)] == [None]
    assert not desk.is_down("first", "abc")
    desk.close()


def test_what_was_given_before_the_process_stood_still_is_not_sent(tmp_path: Path, http: FakeHttp) -> None:
    desk = Desk(two_hooks(tmp_path, http.url, http.url))
    desk.give(delivery("first"), message(), time.monotonic() - 9)
    assert [result.is_stale for result in desk.results(5)] == [True]
    assert (http.requests, desk.troubles, desk.sent["first"]) == ([], {}, 0)
    assert desk.can_take("first", "abc")
    desk.close()


def test_a_sink_that_fails_is_left_alone_for_longer_each_time_and_then_stood_in_for(
    tmp_path: Path, http: FakeHttp
) -> None:
    clock = [1_000.0]
    http.answer = lambda _request: (503, {}, b"")
    desk = Desk(two_hooks(tmp_path, http.url, http.url), lambda: clock[0])
    pauses = []
    for _ in range(8):
        desk.give(delivery("first"), message())
        (result,) = desk.results(5)
        assert result.why == "first: it answered 503"
        trouble = desk.troubles["first"]
        assert not desk.can_take("first", "abc")
        pauses.append(trouble.next_try - clock[0])
        clock[0] = trouble.next_try
        assert desk.can_take("first", "abc")
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert desk.is_down("first", "abc")
    assert not desk.is_down("second", "abc")
    http.answer = lambda _request: (200, {}, b"")
    desk.give(delivery("first"), message())
    assert [result.why for result in desk.results(5)] == [None]
    assert not desk.is_down("first", "abc")
    desk.close()


def test_a_message_that_a_sink_never_takes_does_not_hold_the_others(tmp_path: Path, http: FakeHttp) -> None:
    clock = [1_000.0]
    http.answer = lambda request: (400 if request.json["id"] == "bad" else 200, {}, b"")
    desk = Desk(two_hooks(tmp_path, http.url, http.url), lambda: clock[0])
    left = [delivery("first", name) for name in ("bad", "good", "other")]  # the most urgent one is never taken
    for _ in range(30):
        for one in desk.choose(left):
            desk.give(one, Message(**{**message().__dict__, "id": one.item}))
            if desk.results(5)[0].why is None:
                left.remove(one)
        clock[0] += 5
    assert [one.item for one in left] == ["bad"]
    assert desk.is_down("first", "bad")
    desk.close()


def test_a_secret_that_is_not_there_is_a_failure_that_says_so(tmp_path: Path, http: FakeHttp) -> None:
    hook = {"kind": "webhook", "url": http.url, "secret": "env:NOT_THERE_AT_ALL"}
    desk = Desk(routes_of(tmp_path, sinks={"hook": hook}, routes=[{"name": "all", "sinks": ["hook"]}]))
    desk.give(delivery("hook"), message())
    (result,) = desk.results(5)
    why = "hook: sink hook refers to env:NOT_THERE_AT_ALL, which is not set or empty; put the secret there"
    assert result.why == why
    assert http.requests == []
    desk.close()
