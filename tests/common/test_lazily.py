"""Modules whose work waits for their first use."""

import importlib
import sys
from pathlib import Path

import pytest

from jobs.common.lazily import importing_lazily

NAME = "a_module_of_test_lazily"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that notes in a file that it was executed."""
    (tmp_path / f"{NAME}.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'executed')!r}).touch()\nANSWER = 42\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return NAME


def test_a_module_is_executed_at_its_first_use_only(module: str, tmp_path: Path) -> None:
    with importing_lazily(module):
        found = importlib.import_module(module)
    assert not (tmp_path / "executed").exists()
    assert found.ANSWER == 42
    assert (tmp_path / "executed").exists()


def test_others_and_later_imports_are_as_ever(module: str, tmp_path: Path) -> None:
    before = list(sys.meta_path)
    with importing_lazily("another"):
        importlib.import_module(module)
    assert (tmp_path / "executed").exists()
    assert sys.meta_path == before


def test_a_missing_module_is_missing_at_once() -> None:
    with importing_lazily("no_such_module_at_all"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_at_all")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_at_all")
