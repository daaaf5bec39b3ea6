"""Errors that a user can cause, and the exit codes of the contract."""

import re

DONE = 0
FAILED = 1
USAGE = 2
BREAKS_FOUND = 3

#: How delta-rs and obstore set out what a store said: a cause a line with an arrow in colours, the store's answer as
#: XML, and the whole once more for whoever wrote the library.
_SET_OUT = (
    (re.compile(r"\s*(?:\x1b\[[0-9;]*m)*↳(?:\x1b\[[0-9;]*m)*\s*"), ": "),
    (re.compile(r"\s*Debug source:\n.*\n\}", re.DOTALL), ""),
    (re.compile(r"<\?xml.*?<Message>([^<]*)</Message>.*</Error>", re.DOTALL), r"\1"),
    (re.compile(r"\n+(?=;|\Z)"), ""),
)
_MARKS = ("↳", "\nDebug source:", "<?xml")


class UserError(Exception):
    """One clear sentence that names the thing, the place and the remedy; shown without a stack trace."""

    def __init__(self, sentence: str, exit_code: int = USAGE) -> None:
        super().__init__(in_a_line(sentence))
        self.exit_code = exit_code


class TableMovedError(UserError):
    """Somebody else wrote a table since it was read; nothing of ours is in it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"Somebody else wrote {path} at the same moment; close the day again: nothing is half written.", FAILED
        )


def in_a_line(text: str) -> str:
    """The text with what a library for S3 sets out over many lines in one; any other as it is."""
    if any(mark in text for mark in _MARKS):
        for pattern, instead in _SET_OUT:
            text = pattern.sub(instead, text)
    return text
