"""Who may import whom: schemas <- reco_rules <- jobs/common <- the programs, which never import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOUNDATION = ("schemas", "reco_rules", "jobs.common")
PROGRAMS = sorted(p.name for p in (ROOT / "jobs").iterdir() if p.is_dir() and p.name not in ("common", "__pycache__"))


def room_of(module: str) -> str | None:
    """The room that a dotted name lies in; None for names that are not ours."""
    parts = module.split(".")
    if parts[0] == "jobs":
        return ".".join(parts[:2]) if len(parts) > 1 else "jobs"
    return parts[0] if parts[0] in ("schemas", "reco_rules", "tests", "tools", "bench", "notebooks") else None


def allowed(room: str) -> set[str]:
    """The rooms that a module of `room` may import."""
    if room in FOUNDATION:
        return set(FOUNDATION[: FOUNDATION.index(room) + 1])
    return {*FOUNDATION, room}


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported, at any depth, relative ones resolved."""
    package = list(file.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "jobs":
                yield from ((node.lineno, f"jobs.{name.name}") for name in node.names)
            else:
                yield node.lineno, module


def modules() -> list[Path]:
    return sorted(path for top in ("schemas", "reco_rules", "jobs") for path in (ROOT / top).rglob("*.py"))


@pytest.mark.parametrize("file", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stay_within_the_rules(file: Path) -> None:
    room = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
    assert room is not None
    if room == "jobs":  # jobs/__init__.py
        assert list(imports(file)) == []
        return
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {module}"
        for line, module in imports(file)
        if (there := room_of(module)) and there not in allowed(room)
    ]
    assert wrong == []


def test_the_programs_are_seen() -> None:
    assert {"cli", "daily", "ingest", "streaming"} <= set(PROGRAMS)
    assert all(f"jobs.{program}" not in allowed("jobs.cli") for program in PROGRAMS if program != "cli")


def test_rules_never_act() -> None:
    """Nothing in reco_rules reads, writes, collects, counts, or asks for the time or for randomness."""
    acts = {
        "collect",
        "toPandas",
        "write",
        "writeStream",
        "readStream",
        "cache",
        "persist",
        "checkpoint",
        "foreachBatch",
    }
    asks = {"current_timestamp", "current_date", "now", "today", "rand", "randn", "uuid", "monotonically_increasing_id"}
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno} uses {node.attr}"
        for file in (ROOT / "reco_rules").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in acts | asks
    ]
    assert wrong == []
