"""Files of the lake, in a folder or an object store, without a JVM: listed, read, written, copied, removed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from jobs.common.errors import FAILED, UserError
from jobs.common.lake_root import SCHEME

#: So many files are removed with one call.
_BATCH = 500
#: Bytes of a file that are held at a time when it is copied.
_PIECE = 8 << 20


@dataclass(frozen=True)
class File:
    """One file: its path under the store's root, bytes, and when it was written (UTC)."""

    path: str
    size: int
    modified: datetime


class Storage:
    """A folder, or a prefix of a bucket (`s3a://bucket/prefix`; AWS_… variables say how it is reached)."""

    def __init__(self, root: str, *, make: bool = False) -> None:
        """`make`: a folder that is not there is made. UserError where the place cannot be used."""
        self.root = root
        self.is_local = SCHEME.match(root) is None
        self._store: ObjectStore | None = None
        try:
            if not self.is_local:
                self._store = from_url(root.replace("s3a://", "s3://", 1))
            elif make or Path(root).is_dir():
                self._store = LocalStore(root, mkdir=make)
        except (BaseError, OSError, ValueError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> UserError:
        remedy = "give a folder that this user may read and write" if self.is_local else "see docs/s3.md"
        return UserError(f"The place {self.root} cannot be used: {error}; {remedy}.", FAILED)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """UserError where the store refuses or does not answer; that a file is there or not is the caller's."""
        try:
            yield
        except (NotFoundError, AlreadyExistsError):
            raise
        except BaseError as error:
            raise self._refused(error) from error

    def files(self, prefix: str = "") -> Iterator[File]:
        """Every file under a prefix that is a folder, none where it is absent; in no order."""
        if self._store is None:
            return
        with self._reached():
            for batch in obstore.list(self._store, prefix or None, chunk_size=1000):
                for one in batch:
                    yield File(one["path"], one["size"], one["last_modified"])

    def is_there(self, path: str) -> bool:
        """Whether a file is there."""
        if self._store is None:
            return False
        try:
            with self._reached():
                obstore.head(self._store, path)
        except (NotFoundError, FileNotFoundError):
            return False
        return True

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None where it is not there."""
        if self._store is None:
            return None
        try:
            with self._reached():
                return bytes(obstore.get(self._store, path).bytes())
        except (NotFoundError, FileNotFoundError):
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole, in place of the one there; nobody sees half of it."""
        assert self._store is not None
        with self._reached():
            obstore.put(self._store, path, content)

    def create(self, path: str, content: bytes) -> bool:
        """Write a file whole where there is none; whether it was written. Of two who try at once, one is told so."""
        assert self._store is not None
        try:
            with self._reached():
                obstore.put(self._store, path, content, mode="create")
        except (AlreadyExistsError, FileExistsError):
            return False
        return True

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files; one that is gone already is no error."""
        if not paths:
            return
        assert self._store is not None
        for first in range(0, len(paths), _BATCH):
            batch = paths[first : first + _BATCH]
            try:
                with self._reached():
                    obstore.delete(self._store, batch)
            except (NotFoundError, FileNotFoundError):
                for path in batch:
                    with suppress(NotFoundError, FileNotFoundError), self._reached():
                        obstore.delete(self._store, path)

    def copy_to(self, path: str, target: "Storage") -> None:
        """Copy one file to the same path of another place, in pieces."""
        assert self._store is not None
        assert target._store is not None
        with self._reached():
            found = obstore.get(self._store, path)
        with target._reached():
            if found.meta["size"] <= _PIECE:
                obstore.put(target._store, path, bytes(found.bytes()))
                return
            with obstore.open_writer(target._store, path) as writer:
                for piece in found.stream(min_chunk_size=_PIECE):
                    writer.write(piece)
