"""Suppliers' files: what they say, and every mistake by file, line and key."""

from decimal import Decimal
from pathlib import Path

import pytest

from jobs.common.errors import UserError
from jobs.ingest.polling.config import choose, read_supplier, read_suppliers
from jobs.ingest.polling.config_parts import CursorPaging, OAuth, SincePaging

WHOLE = """\
supplier: SUP-007
url: https://api.acme.example/v1/changes
headers: {X-Tenant: agoda}
params: {status: all, limit: 200}
auth:
  kind: oauth
  token_url: https://login.acme.example/token
  client_id: reco
  client_secret: env:ACME_SECRET
paging:
  kind: updated_since
  param: since
  updated: meta.changedAt
  time: epoch_millis
  token_param: token
  next: next
  size_param: limit
  size: 200
items: $.data["the.items"]
key: booking.id
event_id: meta.id
ignore: [fetchedAt]
rate_limit: 0.5
every: 5m
overlap: 15m
timeouts: {connect: 5s, read: 20s, total: 1m}
max_bytes: 512KB
format: acme
tls: {ca_file: /etc/acme.pem}
"""
SHORT = "supplier: S\nurl: https://a.example/x\nitems: data\npaging: {kind: page}\n"


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(WHOLE)
    api = read_supplier(path)
    assert (api.supplier, api.place, api.format) == ("SUP-007", "https://api.acme.example/v1/changes", "acme")
    assert api.params == {"status": "all", "limit": "200"}
    assert isinstance(api.auth, OAuth)
    assert isinstance(api.paging, SincePaging)
    assert (api.items, api.key, api.event_id) == (("data", "the.items"), ("booking", "id"), ("meta", "id"))
    assert (api.rate_limit, api.every, api.overlap, api.max_bytes) == (Decimal("0.5"), 300, 900, 524_288)
    assert (api.timeouts.connect, api.timeouts.read, api.timeouts.total) == (5, 20, 60)


def test_a_short_file_has_sound_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SHORT.replace("{kind: page}", "{kind: cursor, param: after, next: paging.next}"))
    api = read_supplier(path)
    assert isinstance(api.paging, CursorPaging)
    assert (api.key, api.every, api.overlap, api.rate_limit) == (("activityId",), 60, 300, Decimal(5))
    assert (api.max_bytes, api.timeouts.total, api.auth) == (8 * 2**20, 120, None)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("items: data", "item: data", 3, "item: unknown key; did you mean items?"),
        ("items: data", "", 1, "items: is missing"),
        ("items: data", "items: data..x", 3, "items: must be a place in the JSON"),
        ("items: data", "items: data\nevery: 60", 4, "every: must be a duration with a unit"),
        ("items: data", "items: data\nevery: 2d", 4, "every: must be from 1s to 24h"),
        ("items: data", "items: data\nrate_limit: 0", 4, "rate_limit: must be a number of requests a second"),
        ("items: data", "items: data\nmax_bytes: 500MB", 4, "max_bytes: must be from 1KB to 32MB"),
        ("items: data", "items: data\nheaders: {Authorization: x}", 4, "headers.Authorization: looks like a secret"),
        ("items: data", "items: data\nparams: {api_key: x}", 4, "params.api_key: looks like a secret"),
        ("items: data", "items: data\nheaders: {Host: x}", 4, "headers.Host: is set by the poller itself"),
        ("items: data", "items: data\nfile: x", 4, "file: unknown key"),
        ("items: data", "items: data\nrate_limit: 0.0000001", 4, "rate_limit: must be a number of requests a second"),
        ("items: data", "items: data\nrate_limit: 0.0016", 4, "rate_limit: must be a number of requests a second"),
        ("items: data", "items: data\nheaders: {X-Tenant: zürich}", 4, "headers.X-Tenant: has letters that no header"),
        ("items: data", "items: data\nheaders: {Mandant ü: x}", 4, "headers.Mandant ü: has letters that no header"),
        ("https://a.example/x", "https://a.example/x?v=1&api_key=hunter2", 2, "url: looks like a secret"),
        (
            "items: data",
            "items: data\nauth: {kind: oauth, token_url: 'https://a.example/t?token=x', client_id: c}",
            4,
            "auth.token_url: looks like a secret",
        ),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, start: '2999-01-01T00:00:00Z'}",
            4,
            "paging.start: lies in the future",
        ),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, zone: Mars/X}",
            4,
            "paging.zone: must be the name",
        ),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, zone: Europe}",
            4,
            "paging.zone: must be the name",
        ),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, zone: Asia/Tokyo, time: epoch_millis}",
            4,
            "paging: zone is for times without an offset",
        ),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, zone: Asia/Tokyo, order: ascending, size: 5}",
            4,
            "paging: times of a zone do not lead on",
        ),
        (
            "items: data",
            "items: data\nauth: {kind: magic}",
            4,
            "auth.kind: must be one of bearer, basic, api_key, oauth",
        ),
        ("items: data", "items: data\nauth: {kind: bearer, tokn: x}", 4, "auth.tokn: unknown key; did you mean token?"),
        ("{kind: page}", "{kind: pages}", 4, "paging.kind: must be one of cursor, updated_since, page"),
        ("{kind: page}", "{kind: cursor, param: c}", 4, "paging.next: is missing"),
        ("{kind: page}", "{kind: page, token_param: t}", 4, "paging: token_param and next go together"),
        ("{kind: page}", "{kind: page, size_param: n}", 4, "paging: size_param needs size"),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, order: ascending}",
            4,
            "paging: order ascending needs size",
        ),
        (
            "{kind: page}",
            "{kind: updated_since, param: s, updated: u, start: yesterday}",
            4,
            "paging.start: must be a time with its offset",
        ),
        ("{kind: page}", "{kind: updated_since, param: s, updated: u}\noverlap: 0s", 5, "overlap: must be at least 1s"),
        ("https://a.example/x", "ftp://a.example/x", 2, "url: must be an address like https://"),
        ("https://a.example/x", "https://u:hunter2@a.example/x", 2, "url: must hold no user and password"),
        ("https://a.example/x", "http://a.example/\nauth: {kind: bearer, token: 'env:T'}", 2, "url: must be https"),
        ("supplier: S", "supplier: ''", 1, "supplier: "),
    ],
)
def test_each_mistake_names_file_line_and_key(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SHORT.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_supplier(path)
    assert f"{path}:{line}: {says}" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_secret_that_is_written_down_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(SHORT + "auth: {kind: basic, username: u, password: hunter2}\n")
    with pytest.raises(UserError, match=r"auth\.password: a secret is not written down but referred to") as caught:
        read_supplier(path)
    assert "hunter2" not in str(caught.value)


def test_everything_that_is_wrong_in_all_files_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHORT + "evry: 1m\nauth: {kind: bearer}\noverlap: x\nparams: {api_key: hunter2}\n")
    (tmp_path / "b.yaml").write_text(SHORT.replace("url", "uri"))
    (tmp_path / "c.yaml").write_text(SHORT)
    (tmp_path / "d.yml").write_text(SHORT)
    (tmp_path / "e.yaml.example").write_text("no")
    with pytest.raises(UserError) as caught:
        read_suppliers(tmp_path)
    said = str(caught.value).splitlines()
    assert "hunter2" not in str(said)
    assert [(Path(one.split(": ")[0].split(":")[0]).name, one.split(": ")[1]) for one in said] == [
        ("a.yaml", "evry"),
        ("a.yaml", "auth.token"),
        ("a.yaml", "overlap"),
        ("a.yaml", "params.api_key"),
        ("b.yaml", "url"),
        ("b.yaml", "uri"),
        ("d.yml", "supplier"),
    ]


def test_suppliers_are_chosen_by_name(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(SHORT.replace("supplier: S", f"supplier: {name}"))
    apis = read_suppliers(tmp_path)
    assert [api.supplier for api in choose(apis, [], tmp_path)] == ["a", "b"]
    assert [api.supplier for api in choose(apis, ["b", "b"], tmp_path)] == ["b"]
    with pytest.raises(UserError, match=r"describes the supplier 'c'; those that are described: 'a', 'b'"):
        choose(apis, ["c"], tmp_path)


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no supplier's file .*docs/poll\.md"):
        read_suppliers(tmp_path)


def test_the_manuals_example_is_a_file(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[3] / "docs/poll.md").read_text()
    path = tmp_path / "a.yaml"
    path.write_text(manual.partition("```yaml\n")[2].partition("```")[0])
    assert read_supplier(path).supplier == "SUP-007"
