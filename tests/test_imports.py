"""Every module can be imported, by itself, and has something to say about itself."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def names() -> list[str]:
    files = (path for top in ("schemas", "reco_rules", "jobs") for path in (ROOT / top).rglob("*.py"))
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files)
    return sorted(dotted)


@pytest.mark.parametrize("name", names())
def test_module_imports(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_every_room_is_a_package() -> None:
    for top in ("schemas", "reco_rules", "jobs"):
        for folder in (ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())):
            if any(folder.glob("*.py")):
                assert (folder / "__init__.py").exists(), folder
