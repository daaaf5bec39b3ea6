"""Fetches packages of Debian into the cache folder, with those that they need and this machine lacks, without root.

`python tools/debian.py mariadb-server-core` prints the folder where it is unpacked, fetched where it was not yet there.
Exit code 77 where it cannot be had: why is said on stderr. Standard library only.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NONE = 77
SECONDS = 300


def cache() -> Path:
    """Where tools are kept from one run to the next."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reco"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait for whoever sets the same up at this moment: tests run side by side."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch(package: str, take: str, to: Path, *, needs: bool = False) -> str | None:
    """Put `take`, a path within the unpacked package ("." for all of it), to `to`; returns why it could not be had.

    With `needs` what the package depends on is unpacked over it, as far as it is not installed.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return "it is not installed, and this machine has no apt-get to fetch Debian's with"
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to.parent) as folder:
            # Moved there whole, so that a fetch that was cut short, or another at once, leaves nothing half done.
            (_unpacked(package, Path(folder), needs) / take).replace(to)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return f"{' '.join(error.cmd[:1])} failed ({said[-1] if said else 'it said nothing'})"
    except (OSError, StopIteration, subprocess.TimeoutExpired) as error:
        if to.exists():  # another one was faster
            return None
        return f"it could not be fetched ({type(error).__name__}: {error})"
    return None


def _unpacked(package: str, folder: Path, needs: bool) -> Path:
    """The package's files. The lists are the folder's own: neither root nor an earlier `apt-get update` is needed."""
    for name in ("state/lists/partial", "cache/archives/partial", "files"):
        (folder / name).mkdir(parents=True)
    own = {
        "Dir::State": folder / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": folder / "cache",
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 30,
    }
    options = [word for key, value in own.items() for word in ("-o", f"{key}={value}")]
    _run(["apt-get", "-qq", *options, "update"], folder)
    wanted, seen = [package], {package}
    while wanted:
        name = wanted.pop()
        _run(["apt-get", "-qq", *options, "download", name], folder)
        file = next(folder.glob("*.deb"))
        _run(["dpkg-deb", "-x", file.name, "files"], folder)
        more = _missing(_run(["dpkg-deb", "-f", file.name, "Depends"], folder)) if needs else []
        wanted += [one for one in more if one not in seen]
        seen.update(more)
        file.unlink()
    return folder / "files"


def _missing(depends: str) -> Sequence[str]:
    """The first alternative of each dependency of which none is installed."""
    groups = [[part.split()[0].split(":")[0] for part in group.split("|")] for group in depends.split(",") if group]
    return [group[0] for group in groups if not any(map(_is_installed, group))]


def _is_installed(package: str) -> bool:
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}", package], capture_output=True, text=True, check=False
    )
    return told.stdout.startswith("ii")


def _run(command: list[str], folder: Path) -> str:
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout.strip()


def main(package: str) -> int:
    """Fetch it and print where it is; returns the exit code."""
    folder = cache() / package
    trouble = None if folder.exists() else fetch(package, ".", folder, needs=True)
    print(f"No {package}: {trouble}." if trouble else folder, file=sys.stderr if trouble else sys.stdout)
    return NONE if trouble else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
