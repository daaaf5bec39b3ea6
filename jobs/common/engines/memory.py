"""What DuckDB may take of this machine."""

import os
from pathlib import Path
from typing import NamedTuple

from jobs.common.settings import Settings

_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_GROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Limits(NamedTuple):
    """Bytes of memory, and of files where that is not enough."""

    memory: int
    spill: int


def limits_of(settings: Settings) -> Limits:
    """As the settings have it; three fifths of the machine's memory where they do not say."""
    daily = settings.daily
    memory = machine_memory() * 3 // 5 if daily.duckdb_memory is None else _bytes(daily.duckdb_memory)
    return Limits(memory, _bytes(daily.duckdb_spill))


def machine_memory() -> int:
    """Bytes of memory of this machine, or of the container around this process where that has less."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _GROUPS:
        text = group.read_text().strip() if group.exists() else ""
        if text.isdigit():
            known.append(int(text))
    return min(known)


def text_of(size: int) -> str:
    """Bytes as people say them: 1.5 GB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _bytes(text: str) -> int:
    return int(text[:-1]) * _UNITS[text[-1].lower()]
