"""`reco console` as a program: it says where it answers once it has the port, and not before."""

import socket
from unittest.mock import Mock

import pytest

from jobs.cli.main import main


def test_a_console_whose_port_is_taken_does_not_say_that_it_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobs.console.main.create_app", lambda _: Mock())
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SystemExit) as end:
            main(["console", "--port", str(port)])
    said = capsys.readouterr()
    assert (end.value.code, said.out) == (2, "")
    assert said.err == (
        f"Port {port} of 127.0.0.1 cannot be had (Address already in use): set console.port to a free one, or "
        "console.host to an address of this machine.\n"
    )
