"""Folders and files of this machine that settings name: whether they can be written is asked before work begins."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.common.errors import UserError
from jobs.common.lake_root import SCHEME
from jobs.common.settings import PREFIX, Settings


@contextmanager
def writing(setting: str, place: Path) -> Iterator[None]:
    """UserError that names the setting where the system lets us not write the place within the context."""
    try:
        yield
    except OSError as error:
        variable = PREFIX + setting.upper().replace(".", "__")
        raise UserError(
            f"{setting}: {place} cannot be written ({error.strerror or error}): give a place that this user may write "
            f"({variable} sets it too)."
        ) from error


def require_writable_lake(settings: Settings, *, checkpoints: bool = False) -> None:
    """UserError where the lake's folder cannot be written, or made where it is missing; that of `checkpoints` too.

    Nothing is made yet. A store is not asked: what it allows is by table, and it says so itself.
    """
    roots = {"lake.root": settings.lake.root}
    if checkpoints and not settings.stream.checkpoint_root.startswith(f"{settings.lake.root}/"):
        roots["stream.checkpoint_root"] = settings.stream.checkpoint_root
    for setting, root in roots.items():
        if SCHEME.match(root) is None:
            _try(setting, Path(root))


def require_writable_table(settings: Settings, name: str) -> None:
    """UserError where the folder of a table that is there cannot be written: somebody may write some tables only."""
    if settings.is_local_lake:
        _try("lake.root", Path(settings.table_path(name)))


def _try(setting: str, place: Path) -> None:
    with writing(setting, place):
        there = next(one for one in (place, *place.parents) if one.exists())
        tempfile.TemporaryFile(dir=there).close()
