"""What an object store refuses is one sentence, whichever of the two libraries asked it."""

import re
from collections.abc import Callable

import pytest
from pytest_httpserver import HTTPServer

from jobs.common.errors import FAILED, UserError
from jobs.common.storage import Storage

LAKE = "s3a://not-made/lake"
SAID = (
    '<?xml version="1.0" encoding="utf-8"?>\n<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not '
    "exist</Message><HostId>9Gjj</HostId></Error>"
)
#: As delta-rs said it, which keeps Python from answering meanwhile and so is not asked here.
TABLE = (
    "Generic S3 error\n          \x1b[31m↳\x1b[0m Error performing PUT http://store/token in 16.1ms - Server returned "
    "non-2xx status code\n           \x1b[31m↳\x1b[0m 403 Forbidden\n"
)


@pytest.fixture
def refusing(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of which nobody has made the bucket."""
    httpserver.expect_request("/not-made").respond_with_data(SAID, 404, content_type="application/xml")
    # Whoever may not look whether a file is there gets the same answer, whatever it is.
    httpserver.expect_request(re.compile("/not-made/.*")).respond_with_data(SAID, 403, content_type="application/xml")
    told = {"ENDPOINT_URL": httpserver.url_for("/").rstrip("/"), "ALLOW_HTTP": "true", "REGION": "us-east-1"}
    told |= {"ACCESS_KEY_ID": "nobody", "SECRET_ACCESS_KEY": "nothing", "EC2_METADATA_DISABLED": "true"}
    for name, value in told.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.mark.usefixtures("refusing")
@pytest.mark.parametrize(
    "asked",
    [
        lambda: list(Storage(LAKE).files()),
        lambda: Storage(LAKE).read("one"),
        lambda: Storage(LAKE).write("one", b"x"),
        lambda: Storage(LAKE).create("one", b"x"),
    ],
    ids=["list", "read", "write", "create"],
)
def test_it_is_one_line_that_names_the_place_and_the_stores_own_reason(asked: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=r"^The place s3a://not-made/lake cannot be used: ") as refused:
        asked()
    sentence = str(refused.value)
    assert "The specified bucket does not exist; see " in sentence
    assert "\n" not in sentence
    assert "\x1b" not in sentence
    assert refused.value.exit_code == FAILED


def test_a_tables_causes_come_in_one_line_too_and_lists_of_ours_stay_lists() -> None:
    told = str(UserError(f"The table t cannot be read: {TABLE}; see `reco doctor`."))
    asked = "Error performing PUT http://store/token in 16.1ms - Server returned non-2xx status code"
    assert told == f"The table t cannot be read: Generic S3 error: {asked}: 403 Forbidden; see `reco doctor`."
    assert str(UserError("Two things:\n- one\n- two")) == "Two things:\n- one\n- two"


def test_a_library_tells_its_reason_without_where_in_itself_it_stood() -> None:
    trace = "".join(f"   {number}: <unknown>\n" for number in range(12))
    trace += "  12: start_thread\n             at ./nptl/pthread_create.c:442:8\n"
    trace += "  13: clone3\n             at ./misc/../sysdeps/unix/sysv/linux/x86_64/clone3.S:81:0\n"
    reason = "Kernel error: Json error: Truncated record"
    told = str(UserError(f"The table t cannot be read: {reason}\n{trace}; see `reco doctor`."))
    assert told == f"The table t cannot be read: {reason}; see `reco doctor`."
    ours = "a.yaml:3: price: no such key\n  1: is what this list begins with\n"
    assert str(UserError(ours)) == ours
