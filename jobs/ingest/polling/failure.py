"""How one supplier's poll can fail; the others go on."""


class PollFailedError(Exception):
    """One poll came to nothing or not to its end; what was published stays, the cursor has not moved past it.

    `lasting`: it will not get better by itself. `retry_after`: seconds for which the supplier asked to be left alone.
    """

    def __init__(self, sentence: str, *, lasting: bool = False, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.lasting, self.retry_after = lasting, retry_after


class StoppedError(Exception):
    """The poller was asked to end while it waited."""
