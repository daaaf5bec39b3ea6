"""Takes a supplier's answer apart without changing a byte of its items."""

import json
import re
from collections.abc import Iterator
from typing import Any

from jobs.ingest.polling.failure import PollFailedError
from jobs.ingest.polling.paths import Path, look_up, shown_path

#: Items of one answer; an answer of small items only would take many times its size in memory.
MOST_ITEMS = 100_000

_BLANK = re.compile(r"[ \t\r\n]*")
_BOM = "\xef\xbb\xbf"


class Number(str):
    """A JSON number as the supplier wrote it: never a float, however it is written."""

    __slots__ = ()


_DECODER = json.JSONDecoder(strict=False, parse_float=Number, parse_int=Number, parse_constant=Number)


def load(raw: bytes) -> Any:
    """The value of JSON text; numbers as they are written, bytes that are no UTF-8 as lone surrogates.

    Raises ValueError, or RecursionError where it is nested too deeply.
    """
    return _DECODER.decode(raw.decode("utf-8", "surrogateescape"))


class Page:
    """One answer: the items as the bytes that the supplier sent, and what stands around them."""

    def __init__(self, body: bytes | bytearray, items: Path) -> None:
        """`items`: where their list is. Raises PollFailedError where the answer is no JSON or has no list there."""
        # One character a byte, whatever the text: half the memory, and slices that are the bytes themselves.
        self._text = body.decode("latin-1").removeprefix(_BOM)
        self._spans: list[tuple[int, int]] = []
        try:
            self.around = self._take_apart(items)
        except RecursionError:
            raise PollFailedError("Its answer is nested too deeply to be read.") from None
        except ValueError as error:
            # The parser's own words, without the text: it may hold what nobody should read in a log.
            where = f" at byte {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
            raise PollFailedError(f"Its answer is not JSON{where}: broken off, or something else.") from None

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[bytes]:
        return (self._text[start:end].encode("latin-1") for start, end in self._spans)

    def find(self, path: Path) -> Any:
        """What is at a place of the answer outside its items: ABSENT where nothing is."""
        return look_up(self.around, path)

    def _take_apart(self, items: Path) -> Any:
        start = self._seek(_skip(self._text, 0), items)
        if start is None:
            load(self._text.encode("latin-1"))  # what is no JSON at all is called so
            raise PollFailedError(f"Its answer has nothing at {shown_path(items)}, where its items should be.")
        end = self._list(start, items)
        text = self._text[:start] + "[]" + self._text[end:]
        around = load(text.encode("latin-1"))
        if look_up(around, items) != []:
            raise PollFailedError(f"Its answer says {shown_path(items)} twice; which is meant cannot be known.")
        return around

    def _seek(self, at: int, path: Path) -> int | None:
        """Where the value at the path begins; None where it is not there."""
        for step in path:
            if isinstance(step, int) or self._text[at : at + 1] != "{":
                return None
            found = self._member(at, step)
            if found is None:
                return None
            at = found
        return at

    def _member(self, at: int, name: str) -> int | None:
        at = _skip(self._text, at + 1)
        while self._text[at : at + 1] == '"':
            _, end = _DECODER.raw_decode(self._text, at)
            key = load(self._text[at:end].encode("latin-1"))
            at = _skip(self._text, end)
            if self._text[at : at + 1] != ":":
                raise json.JSONDecodeError("no colon", "", at)
            at = _skip(self._text, at + 1)
            if key == name:
                return at
            _, at = _DECODER.raw_decode(self._text, at)
            at = self._past_comma(at, "}")
        return None

    def _list(self, at: int, path: Path) -> int:
        """Notes where each item lies; where the list ends."""
        if self._text.startswith("null", at):
            return at + len("null")
        if self._text[at : at + 1] != "[":
            raise PollFailedError(f"Its answer has no list at {shown_path(path)}, where its items should be.")
        at = _skip(self._text, at + 1)
        while self._text[at : at + 1] != "]":
            _, end = _DECODER.raw_decode(self._text, at)
            self._spans.append((at, end))
            if len(self._spans) > MOST_ITEMS:
                raise PollFailedError(
                    f"Its answer has more than {MOST_ITEMS:,} items: ask for fewer with paging.size.", lasting=True
                )
            at = self._past_comma(end, "]")
        return at + 1

    def _past_comma(self, at: int, closing: str) -> int:
        at = _skip(self._text, at)
        if self._text[at : at + 1] == ",":
            at = _skip(self._text, at + 1)
            if self._text[at : at + 1] != closing:
                return at
        elif self._text[at : at + 1] == closing:
            return at
        raise json.JSONDecodeError("no comma", "", at)


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at
