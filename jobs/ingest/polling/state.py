"""How far a supplier has been read: one small file that is either the old one or the new one, whatever happens."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from jobs.common.errors import FAILED, UserError
from jobs.common.polling import file_of
from jobs.ingest.polling.config import SupplierApi
from jobs.ingest.polling.config_parts import PagePaging

_LOCK_SECONDS = 2.0


@dataclass
class State:
    """What must outlive the process. Times in seconds since 1970, UTC.

    `source`: what it was read from; a place in one API means nothing in another. `cursor`: where a walk stands that
    is under way since `walk_began`. `tips`: cursors with the time at which each was reached. `high`: the greatest
    time of a change that is known to have been read. `began`: when the last whole walk began.
    """

    source: str
    cursor: str | None = None
    walk_began: float | None = None
    tips: list[tuple[float, str]] = field(default_factory=list)
    high: float | None = None
    began: float | None = None


class Store:
    """The file of one supplier."""

    def __init__(self, folder: Path, api: SupplierApi) -> None:
        self._api = api
        self.file = file_of(folder, api.supplier, ".json")
        self.source = f"{api.paging.kind} {api.place}"

    def load(self) -> State:
        """What was saved last, a new beginning where nothing was. UserError where it cannot be gone on from."""
        try:
            read = json.loads(self.file.read_bytes())
            state = State(**{**read, "tips": [(float(at), str(cursor)) for at, cursor in read["tips"]]})
        except FileNotFoundError:
            return State(self.source)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"The place up to which {self._api.supplier!a} was read, in {self.file}, cannot be read "
                f"({type(error).__name__}); {self.remedy}",
                FAILED,
            ) from error
        if state.source != self.source and isinstance(self._api.paging, PagePaging):
            return State(self.source)  # read whole each time: there is no place to lose
        if state.source != self.source:
            raise UserError(
                f"{self.file} says how far {self._api.supplier!a} was read by {state.source}, and "
                f"{self._api.file} now says {self.source}; {self.remedy}",
                FAILED,
            )
        return state

    @property
    def remedy(self) -> str:
        """What to type so that it is read from another place on."""
        return f"say from where to go on: reco poll --supplier {self._api.supplier} --reset-to start (or a place)."

    def save(self, state: State) -> None:
        """Replace the file; what was saved is there after a power cut too."""
        write_whole(self.file, json.dumps(asdict(state)).encode())


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(file.name + ".new")
    with new.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def keep_refused(folder: Path, supplier: str, digest: bytes, raw: bytes, why: str) -> Path:
    """Keep what the broker does not take: the item's bytes, and why beside it. Kept again, it is the same file."""
    digits = sha256(digest).hexdigest()[:32]
    file = file_of(folder, supplier, ".refused") / f"{digits}.json"
    write_whole(file.with_suffix(".why"), f"{why}\n".encode())
    write_whole(file, raw)
    return file


@contextmanager
def locked(folder: Path, supplier: str) -> Iterator[None]:
    """Nobody else polls the supplier into this folder while in the context. UserError where somebody does."""
    file = file_of(folder, supplier, ".lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"Cannot write to {folder} ({error.strerror}): set poll.state to another folder.") from error
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _take(handle):
            # `reco status` holds it for a moment to see whether somebody does.
            if time.monotonic() > deadline:
                raise UserError(
                    f"The supplier {supplier!a} is being polled already, by another process with the state "
                    f"folder {folder}: stop that one first."
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
