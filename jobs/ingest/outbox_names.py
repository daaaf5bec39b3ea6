"""What the outbox's tables are called, and the DDL that makes them so."""

import re
from pathlib import Path
from typing import ClassVar

from jobs.common.settings import Outbox


class OutboxNames:
    """The tables' quoted names, by outbox.table."""

    kind: ClassVar[str]
    quote: ClassVar[str]

    def __init__(self, settings: Outbox) -> None:
        self.settings = settings
        self.table, self.dead, self.beats = (self.named(suffix) for suffix in ("", "_dead", "_heartbeat"))

    def named(self, suffix: str, table: str = "") -> str:
        """The quoted name of outbox.table, or of another, with something behind it."""
        *schema, name = (table or self.settings.table).split(".")
        return ".".join(f"{self.quote}{part}{self.quote}" for part in [*schema, name + suffix])

    def statements(self) -> str:
        """The tables' DDL, for the names that the settings give."""
        text = (Path(__file__).parent / f"outbox-{self.kind}.sql").read_text(encoding="utf-8")
        plain = "\n".join(line.split("--")[0].rstrip() for line in text.splitlines())
        own = self.settings.table.rpartition(".")[2]

        def name(found: re.Match[str]) -> str:
            suffix = found.group(1)
            inside = suffix.startswith(("_ix_", "_tr_"))
            return f"{self.quote}{own}{suffix}{self.quote}" if inside else self.named(suffix)

        return re.sub(r"(?<!_)\boutbox(\w*)", name, plain)

    def each_statement(self) -> list[str]:
        """The statements one by one; a semicolon inside of one, as of a function's body, never ends a line."""
        return [part.strip() for part in re.split(r";$", self.statements(), flags=re.MULTILINE) if part.strip()]
