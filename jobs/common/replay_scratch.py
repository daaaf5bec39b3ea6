"""Where a replay writes: a folder of its own beside the tables, of which nothing is left once its process has ended."""

import os
import shutil
import socket
from pathlib import Path

_FOLDER = "_replay"


def kept(root: str, close_id: str) -> str:
    """Where the tables of a replay stay that was told to keep them."""
    return f"{root}/{_FOLDER}/{close_id}"


def of_process(root: str, close_id: str) -> str:
    """The folder of this process: two replays of one close at once do not meet, and none takes what another kept."""
    return f"{kept(root, close_id)}.{socket.gethostname()}.{os.getpid()}"


def sweep(root: str) -> None:
    """Delete in a local lake what replays of this machine left that were killed."""
    place = Path(root) / _FOLDER
    for left in place.glob(f"*.{socket.gethostname()}.*"):
        pid = left.name.rpartition(".")[2]
        if pid.isdigit() and not _runs(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
