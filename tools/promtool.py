"""Runs promtool with the arguments given: the one on PATH, or Debian's, unpacked into the cache folder without root.

`--fetch` first fetches it where it is not there. Exit code 77 where there is none: why is said on stderr.
Standard library only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NONE = 77
PACKAGE = "prometheus"
SECONDS = 300


def cached() -> Path:
    """Where it is unpacked to."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reco" / "promtool" / "promtool"


def find() -> str | None:
    """The promtool that is there."""
    return shutil.which("promtool") or (str(cached()) if cached().exists() else None)


def fetch() -> str | None:
    """Fetch Debian's; returns why it could not be had."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return "it is not installed, and this machine has no apt-get to fetch Debian's with"
    try:
        cached().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached().parent) as folder:
            unpacked = _unpacked(Path(folder))
            unpacked.replace(cached())
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return f"{' '.join(error.cmd[:1])} failed ({said[-1] if said else 'it said nothing'})"
    except (OSError, StopIteration, subprocess.TimeoutExpired) as error:
        return f"it could not be fetched ({type(error).__name__}: {error})"
    return None


def _unpacked(folder: Path) -> Path:
    """Debian's promtool. The lists are the folder's own: neither root nor an earlier `apt-get update` is needed."""
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
    for words in (["update"], ["download", PACKAGE]):
        _run(["apt-get", "-qq", *options, *words], folder)
    package = next(folder.glob("*.deb"))
    _run(["dpkg-deb", "-x", str(package), "files"], folder)
    return folder / "files" / "usr" / "bin" / "promtool"


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS)


def main(arguments: list[str]) -> int:
    """Run it; returns its exit code."""
    wanted = arguments[:1] == ["--fetch"]
    if wanted and find() is None:
        print("setup: fetching promtool ...", file=sys.stderr, flush=True)
    trouble = fetch() if wanted and find() is None else "it is not here; `make test-alerts` fetches it"
    tool = find()
    if tool is None:
        print(f"No promtool: {trouble}.", file=sys.stderr)
        return NONE
    return subprocess.run([tool, *arguments[1 if wanted else 0 :]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
