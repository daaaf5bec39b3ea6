"""Errors that a user can cause, and the exit codes of the contract."""

import re

DONE = 0
FAILED = 1
USAGE = 2
BREAKS_FOUND = 3

#: What to do about a table that cannot be read.
UNREADABLE = "see that the place can be reached (docs/s3.md), or restore it from a backup (docs/maintenance.md)."
#: How delta-rs and obstore set out what a store said: a cause a line with an arrow in colours, the store's answer as
#: XML, and the whole once more for whoever wrote the library; then where in itself it stood, a frame a line.
_SET_OUT = (
    (re.compile(r"\s*(?:\x1b\[[0-9;]*m)*↳(?:\x1b\[[0-9;]*m)*\s*"), ": "),
    (re.compile(r"\s*Debug source:\n.*\n\}", re.DOTALL), ""),
    (re.compile(r"<\?xml.*?<Message>([^<]*)</Message>.*</Error>", re.DOTALL), r"\1"),
    (re.compile(r"\n\s+0: [^\n]*(?:\n\s+(?:\d+:|at) [^\n]*)*"), ""),
    (re.compile(r"\n+(?=;|\Z)"), ""),
)
_MARKS = re.compile(r"↳|\nDebug source:|<\?xml|\n\s+0: ")


class UserError(Exception):
    """One clear sentence that names the thing, the place and the remedy; shown without a stack trace.

    `remedy`: the end of the sentence that says what to do, where it is to be told apart from the `fact` before it.
    """

    def __init__(self, sentence: str, exit_code: int = USAGE, *, remedy: str = "") -> None:
        told = in_a_line(sentence)
        super().__init__(told)
        self.exit_code = exit_code
        self.fact, self.remedy = told.removesuffix(remedy).rstrip(" :;") if remedy else told, remedy


class TableMovedError(UserError):
    """Somebody else wrote a table since it was read; nothing of ours is in it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"Somebody else wrote {path} at the same moment; close the day again: nothing is half written.", FAILED
        )


def in_a_line(text: str) -> str:
    """The text with what a library for tables or S3 sets out over many lines in one; any other as it is."""
    if _MARKS.search(text):
        for pattern, instead in _SET_OUT:
            text = pattern.sub(instead, text)
    return text
