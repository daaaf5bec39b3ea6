"""Log lines: one JSON object each, on stderr, without secrets."""

import json

import pytest
import structlog

from jobs.common import log


@pytest.fixture(autouse=True)
def _reset() -> None:
    structlog.reset_defaults()


def test_lines_are_json_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.get_logger("part").info("done", rows=3)
    captured = capsys.readouterr()
    line = json.loads(captured.err)
    assert captured.out == ""
    assert (line["event"], line["rows"], line["component"], line["level"]) == ("done", 3, "part", "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_never_appear(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    log.configure(debug=True, as_json=as_json)
    logger = log.get_logger("part")
    options = {"sasl.password": "hunter2", "list": [{"aws_secret_access_key": "hunter2"}]}
    logger.debug("x", options=options, dsn="hunter2", url="postgres://me:hunter2@host/db", text="password='hunter2' ok")
    try:
        int("token=hunter2")
    except ValueError:
        logger.exception("bad")
    shown = capsys.readouterr().err
    assert "hunter2" not in shown
    assert "ValueError" in shown


def test_debug_lines_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    log.get_logger("part").debug("quiet")
    assert capsys.readouterr().err == ""
