"""Every command of docs/warehouse.md does what it says there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jobs.cli.main import build
from jobs.common.command import run
from jobs.common.settings import Settings
from tests.cli.lake_rows import put
from tests.warehouse import lake
from tests.warehouse.lake import DAY, anomaly, fact
from tests.warehouse.test_bundle import KEY, close_row, replaced

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/warehouse.md").read_text()
COMMANDS = [
    line.partition("#")[0].split()[1:]
    for block in re.findall(r"^```\w*\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("reco ")
]


def said(capsys: pytest.CaptureFixture[str], words: list[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = run(lambda: build(words[0]), words, "reco", words[0])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_every_command_runs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "LAKE__ROOT": settings.lake.root,
        "WAREHOUSE__URL": settings.warehouse.url,
        "WAREHOUSE__DATABASE": settings.warehouse.database,
    }.items():
        monkeypatch.setenv(f"RECO_{name}", value)
    # The key's own variable is the reader's; what refers to it stands in the page.
    monkeypatch.setenv("SIGNING", KEY)
    for name, value in re.findall(r"^export (RECO_\w+)=(\S+)", TEXT, re.MULTILINE):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    for revision in (1, 2):
        close_id = f"{DAY}-r{revision}"
        replaced(settings, "reconciliation_facts", [fact("BK-1", close_id=close_id)], close_id)
        replaced(settings, "anomalies", [{**anomaly("BK-1", "1.000001"), "close_id": close_id}], close_id)
        put(settings, "closes", [close_row(revision, 1)])
    lake.write(settings, "exceptions", [lake.life("BK-1", "1")])
    assert len(COMMANDS) >= 13
    for words in COMMANDS:
        is_of_s3 = words[:2] in (["register", "glue"], ["register", "unity"])
        monkeypatch.setenv("RECO_LAKE__ROOT", "s3a://bucket/lake" if is_of_s3 else settings.lake.root)
        if words[:2] == ["register", "glue"] and "--print" not in words:
            continue  # test_register.py does it, against a Glue
        code, told = said(capsys, words)
        assert code == 0, (words, told)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
def test_openssl_gives_the_same_signature(tmp_path: Path) -> None:
    from jobs.warehouse.bundle import signature_of

    (tmp_path / "manifest.json").write_bytes(b'{"a": 1}\n')
    command = ["openssl", "dgst", "-sha256", "-hmac", KEY, str(tmp_path / "manifest.json")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split()[-1] == signature_of(b'{"a": 1}\n', KEY)
