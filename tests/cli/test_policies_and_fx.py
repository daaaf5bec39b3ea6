"""`reco policies` and `reco fx` as they are typed."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from jobs.cli import fx, policies
from jobs.common.errors import UserError
from jobs.common.output import printable

CONF = Path(__file__).parents[2] / "conf"


class Shell:
    """Runs commands against a lake of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "s.yaml"
        self.settings.write_text(json.dumps({"lake": {"root": str(folder / "lake")}}))

    def run(self, app: typer.Typer, *arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--settings", str(self.settings)])
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout

    def json(self, app: typer.Typer, *arguments: str) -> Any:
        return json.loads(self.run(app, *arguments, "--json"))

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_apply_says_what_changed_and_then_that_nothing_did(shell: Shell) -> None:
    example = str(CONF / "policies.yaml")
    first = shell.json(policies.app, "apply", example)
    assert (first["status"], first["policy_version"]) == ("applied", 1)
    assert {"supplier_id": "SUP-001", "key": "abs_tol_usd", "before": "0.5", "after": "2"} in first["changes"]
    again = shell.json(policies.app, "apply", example)
    assert (again["status"], again["policy_version"], again["changes"]) == ("unchanged", 1, [])
    assert "Unchanged: policy version 1" in shell.run(policies.app, "apply", example)
    shown = shell.run(policies.app, "apply", shell.write("p.yaml", "version: 1\nsuppliers: {'[red]': {grace: 90m}}"))
    assert "as policy version 2" in shown
    assert "[red]" in shown
    assert "1h30m" in shown


def test_apply_says_which_formats_changed(shell: Shell) -> None:
    file = shell.write("p.yaml", "version: 1\nsuppliers: {A: {format: bedbank}}")
    with pytest.raises(UserError, match=r"p\.yaml:2: suppliers\.A\.format: there is no format bedbank"):
        shell.run(policies.app, "apply", file)
    (shell.folder / "formats").mkdir()
    worked = (CONF / "formats" / "bedbank.yaml").read_text()
    shell.write("formats/bedbank.yaml", worked)
    first = shell.json(policies.app, "apply", file)
    assert (first["policy_version"], first["formats"], first["formats_changed"]) == (1, ["bedbank"], ["bedbank"])
    assert shell.json(policies.app, "apply", file)["status"] == "unchanged"
    shell.write("formats/bedbank.yaml", worked.replace("Europe/Madrid", "Europe/Lisbon"))
    shown = shell.run(policies.app, "apply", file)
    assert "as policy version 2" in shown
    assert "Payload formats that are new or changed: bedbank." in shown


def test_a_wrong_file_is_a_user_error_with_code_2(shell: Shell) -> None:
    with pytest.raises(UserError, match=r"p\.yaml:2: default: unknown key") as caught:
        shell.run(policies.app, "apply", shell.write("p.yaml", "version: 1\ndefault: {}"))
    assert caught.value.exit_code == 2
    assert shell.json(policies.app, "history") == []


def test_show(shell: Shell) -> None:
    assert "built-in defaults" in shell.run(policies.app, "show")
    shell.run(policies.app, "apply", str(CONF / "policies.yaml"))
    found = shell.json(policies.app, "show", "--supplier", "SUP-002")
    assert (found["listed"], found["policies"][0]["grace"], found["policies"][0]["abs_tol_usd"]) == (True, 5400, "0.5")
    assert "SUP-9 is not listed and has the defaults" in shell.run(policies.app, "show", "--supplier", "SUP-9")
    assert [row["supplier_id"] for row in shell.json(policies.app, "show")["policies"]][:2] == [None, "SUP-001"]
    assert len(shell.json(policies.app, "show", "--version", "0")["policies"]) == 1
    with pytest.raises(UserError, match="no policy version 5"):
        shell.run(policies.app, "show", "--version", "5")


def test_diff(shell: Shell) -> None:
    one = shell.write("one.yaml", "version: 1\ndefaults: {grace: 2h}")
    two = shell.write("two.yaml", "version: 1\ndefaults: {grace: 3h}")
    shell.run(policies.app, "apply", one)
    assert shell.json(policies.app, "diff")["changes"][0]["after"] == 7200
    proposed = shell.json(policies.app, "diff", two)
    assert (proposed["from"], proposed["to"]) == ("1", two)
    assert (proposed["changes"][0]["before"], proposed["changes"][0]["after"]) == (7200, 10800)
    shell.run(policies.app, "apply", two)
    assert shell.json(policies.app, "diff", "1")["changes"] == shell.json(policies.app, "diff", "1", "2")["changes"]
    assert "version 1 → version 2" in shell.run(policies.app, "diff")
    assert "nothing differs" in shell.run(policies.app, "diff", "2", two)
    with pytest.raises(UserError, match="neither the number of a policy version nor a file"):
        shell.run(policies.app, "diff", "latest")


def test_history(shell: Shell) -> None:
    assert "No policies were applied yet" in shell.run(policies.app, "history")
    shell.run(policies.app, "apply", str(CONF / "policies.yaml"))
    assert shell.json(policies.app, "history")[0]["suppliers"] == 3
    assert "Policy versions" in shell.run(policies.app, "history")


def test_fx(shell: Shell) -> None:
    assert "There are no rates yet" in shell.run(fx.app, "show")
    sample = str(CONF / "fx.csv")
    assert "as FX version 1: 12 rates, 4 currencies" in shell.run(fx.app, "load", sample)
    assert shell.json(fx.app, "load", sample)["status"] == "unchanged"
    assert "Unchanged" in shell.run(fx.app, "load", sample)
    assert len(shell.json(fx.app, "show")["rates"]) == 4
    assert len(shell.json(fx.app, "show", "--currency", "JPY")["rates"]) == 3
    assert shell.json(fx.app, "show", "--currency", "JPY")["rates"][0]["usd_per_unit"] == "0.006712"
    assert "Rates of JPY" in shell.run(fx.app, "show", "--currency", "JPY")
    with pytest.raises(UserError, match="'jpy' is no ISO 4217 currency"):
        shell.run(fx.app, "show", "--currency", "jpy")
    with pytest.raises(UserError, match=r"fx\.csv:2: currency"):
        shell.run(fx.app, "load", shell.write("fx.csv", "rate_date,currency,usd_per_unit\n2026-03-09,ABC,1\n"))
    with pytest.raises(UserError, match="No FX file is given"):
        shell.run(fx.app, "load")


def test_help_shows_an_example(shell: Shell) -> None:
    for app, names in ((policies.app, ["apply", "show", "diff", "history"]), (fx.app, ["load", "show"])):
        for name in names:
            assert "Example: reco " in CliRunner().invoke(app, [name, "--help"]).stdout


def test_ids_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\nç‮") == "a\\x1b[2Jb\\nç\\u202e"
