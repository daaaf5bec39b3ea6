"""What a signed cookie cannot know: which sessions were ended, and who came through the OIDC provider."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from jobs.console.users import User

#: Sessions that are kept; the oldest go first.
_KNOWN = 10_000


class Sessions:
    """Ended sessions outlive a restart in a file; guests, whose provider is asked again after one, do not."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        """`file`: ids of ended sessions and until when their cookies would hold; `clock`: seconds since 1970."""
        self._file, self._clock, self._lock = file, clock, Lock()
        self._guests: dict[str, tuple[User, float]] = {}
        self._seen: dict[str, float] = {}
        self._ended = self._read()

    def end(self, session: str, until: float) -> None:
        """The session is over, though its cookie would hold until then."""
        with self._lock:
            self._guests.pop(session, None)
            self._ended = {one: at for one, at in self._ended.items() if at > self._clock()} | {session: until}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new = self._file.with_name(f"{self._file.name}.new")
            new.write_text("".join(f"{one} {at:.0f}\n" for one, at in self._ended.items()), encoding="ascii")
            new.replace(self._file)

    def is_ended(self, session: str) -> bool:
        """Whether somebody signed out of it."""
        return session in self._ended

    def admit(self, session: str, user: User, until: float) -> None:
        """A guest, for the time given."""
        with self._lock:
            now = self._clock()
            self._guests = {one: told for one, told in self._guests.items() if told[1] > now}
            while len(self._guests) >= _KNOWN:
                del self._guests[next(iter(self._guests))]
            self._guests[session] = user, until

    def guest(self, session: str) -> User | None:
        """Whose session it is; None where it is over or unknown."""
        user, until = self._guests.get(session, (None, 0.0))
        return user if until > self._clock() else None

    def guests(self) -> list[User]:
        """Everybody who is here through the provider."""
        with self._lock:
            now = self._clock()
            return [user for user, until in self._guests.values() if until > now]

    def first_time(self, what: str, until: float) -> bool:
        """Whether that is seen for the first time; it is remembered until then."""
        with self._lock:
            now = self._clock()
            self._seen = {one: at for one, at in self._seen.items() if at > now}
            if what in self._seen:
                return False
            self._seen[what] = until
            return True

    def _read(self) -> dict[str, float]:
        if not self._file.exists():
            return {}
        lines = (line.split() for line in self._file.read_text(encoding="ascii").splitlines())
        return {one: float(at) for one, at in lines}
