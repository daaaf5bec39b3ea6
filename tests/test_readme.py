"""What the README names is there: commands, make targets, files."""

import re
from pathlib import Path

from jobs.cli.main import COMMANDS
from schemas.tables import TABLES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_command_is_one_and_none_is_left_out() -> None:
    named = set(re.findall(r"`reco ([a-z]+)", README))
    assert named == set(COMMANDS)


def test_every_make_target_is_one() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z0-9-]+)`?", README)) - {"are"} <= targets


def test_every_linked_and_named_file_is_there() -> None:
    named = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`((?:jobs|conf|reco_rules|schemas)/[\w./]*)`", README)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_page_that_names_references_names_those_of_aws_too() -> None:
    pages = {path.name: path.read_text() for path in [*ROOT.glob("docs/*.md"), *ROOT.glob("conf/*.yaml")]}
    lines = [(name, line) for name, text in pages.items() for line in text.splitlines() if "file:PATH" in line]
    assert len(lines) > 8
    assert [one for one in lines if "aws-secretsmanager" not in one[1] and not one[1].startswith("| `file:PATH`")] == []


def test_every_table_of_the_flow_is_one() -> None:
    paths = {table.path for table in TABLES.values()}
    assert set(re.findall(r"`((?:bronze|silver|gold|ref)/\w+)`", README)) <= paths
