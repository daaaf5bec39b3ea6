"""What docs/deploy.md and the README tell to type is typed here, and prints what they show."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deploy.conftest import BUCKET, Reco
from tests.deploy.test_submit import submit

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/deploy.md").read_text() + (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


def typed(beginning: str) -> list[list[str]]:
    lines = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(beginning)]


def test_the_scripts_commands_print_what_they_would_do(deployment: Callable[..., str]) -> None:
    commands = [words[1:] for words in typed("./spark-submit.sh") if "--dry-run" in words]
    assert len(commands) >= 2
    for words in commands:
        to = ["--to", deployment()] if "--target" in words else []
        told = submit(*to, *words)
        assert told.returncode == 0, told.stderr


def test_a_plan_is_what_the_page_shows(aws: Callable[[str], Any], reco: Reco, deployment: Callable[..., str]) -> None:
    commands = typed("reco deploy")
    assert len(commands) >= 2
    for words in commands:
        code, told, error = reco(words[2], "--to", deployment(), *words[3:])
        assert code == 0, error
        (shown,) = [block for block in BLOCKS if block.startswith("upload ")]
        assert without_hashes(shown) == without_hashes(told)


def without_hashes(text: str) -> str:
    text = re.sub(r"-[0-9a-f]{16}", "-HASH", text)
    return text.replace(BUCKET, "reco-lake").replace("emr-7.12.0", "emr-spark-8.0.0")
