"""What docs/privacy.md tells to type and to set works."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from jobs.cli.main import main
from jobs.common.privacy import Privacy, key_bytes
from jobs.common.settings import Lake, Settings
from tests.cli.lake_rows import bronze, put
from tests.erase.partitioned import make_tables

PAGE = (Path(__file__).parents[2] / "docs/privacy.md").read_text()


def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(lake=Lake(root=str(tmp_path / "lake")))
    make_tables(settings, "activity_raw", "quarantine")
    put(settings, "activity_raw", [bronze(0, b'{"guest":{"email":"ann@example.org"}}')])
    (tmp_path / "value.txt").write_text("ann@example.org\n")
    monkeypatch.setenv("RECO_LAKE__ROOT", settings.lake.root)
    monkeypatch.chdir(tmp_path)
    commands = [line for line in PAGE.splitlines() if line.startswith("reco erase")]
    assert len(commands) == 3
    for line in commands:
        with pytest.raises(SystemExit) as end:
            main(shlex.split(line)[1:])
        assert not end.value.code, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "1 records of bronze and 0 of quarantine would be erased" in told
    assert "1 records of bronze and 0 of quarantine erased" in told
    assert "DONE" in told


def test_the_settings_of_the_page_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECO_MASK_KEY", "0" * 64)
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    privacy = Privacy.model_validate(yaml.safe_load(text)["privacy"])
    assert privacy.tree["guest"] == {"email": None, "name": None}
    assert len(key_bytes(privacy, privacy.key)) == 64
