"""What one poll of one supplier works with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.config_parts import Paging
from jobs.ingest.polling.deliver import Delivered
from jobs.ingest.polling.failure import PollFailedError
from jobs.ingest.polling.paths import ABSENT, shown_path
from jobs.ingest.polling.split import Page
from jobs.ingest.polling.state import State, Store
from jobs.ingest.polling.web import Answer, RefusedError

#: What a supplier answers to a cursor that it no longer knows.
_CURSOR_GONE = (400, 404, 410, 422)


@dataclass
class Job:
    """What a poll works with. `clock`: seconds since 1970, UTC."""

    api: SupplierApi
    store: Store
    state: State
    get: Callable[[Mapping[str, str]], Answer]
    deliver: Callable[[Page], Delivered]
    clock: Callable[[], float]

    def read(self, params: Mapping[str, str]) -> tuple[Page, Answer]:
        """One page."""
        paging: Paging = self.api.paging
        size = {paging.size_param: str(paging.size)} if paging.size_param is not None else {}
        answer = self.get({**size, **params})
        if answer.is_empty:
            return Page(b"[]", ()), answer
        return Page(answer.body, self.api.items), answer

    def save(self) -> None:
        """Keep where we are; only what was delivered before lies behind it."""
        self.store.save(self.state)

    def is_more(self, page: Page, answer: Answer) -> bool | None:
        """What the answer says at `more`; None where the file names no such place."""
        paging: Paging = self.api.paging
        if paging.more is None:
            return None
        said = False if answer.is_empty else page.find(paging.more)
        if not isinstance(said, bool):
            raise PollFailedError("Its answer does not say true or false at paging.more.", lasting=True)
        return said

    def find_next(self, page: Page, answer: Answer) -> str | None:
        """The cursor or token of what follows; None where nothing does."""
        paging: Paging = self.api.paging
        if answer.is_empty or paging.next is None:
            return None
        said = page.find(paging.next)
        if said is ABSENT and not paging.next_optional:
            raise PollFailedError(
                f"Its answer has nothing at {shown_path(paging.next)} (paging.next); set paging.next_optional: true if "
                "that is how it says that there is no more.",
                lasting=True,
            )
        if said is None or said is ABSENT:
            return None
        if not isinstance(said, str):
            raise PollFailedError(
                f"What it says at {shown_path(paging.next)} is neither text nor a number.", lasting=True
            )
        return str(said) or None

    def gone(self, error: RefusedError) -> PollFailedError:
        """What to say where our place in it was refused."""
        return PollFailedError(
            f"{str(error).rstrip('.')}: it may no longer know the place up to which it was read; {self.store.remedy}",
            lasting=True,
        )


def is_gone(error: RefusedError) -> bool:
    """Whether it may be our place in it that the supplier refuses."""
    return error.status in _CURSOR_GONE
