"""Errors that a user can cause, and the exit codes of the contract."""

DONE = 0
FAILED = 1
USAGE = 2
BREAKS_FOUND = 3


class UserError(Exception):
    """One clear sentence that names the thing, the place and the remedy; shown without a stack trace."""

    def __init__(self, sentence: str, exit_code: int = USAGE) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
