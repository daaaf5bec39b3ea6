"""Runs promtool with the arguments given: the one on PATH, or Debian's, unpacked into the cache folder without root.

`--fetch` first fetches it where it is not there. Exit code 77 where there is none: why is said on stderr.
Standard library only.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import debian

NONE = 77


def cached() -> Path:
    """Where it is unpacked to."""
    return debian.cache() / "promtool" / "promtool"


def find() -> str | None:
    """The promtool that is there."""
    return shutil.which("promtool") or (str(cached()) if cached().exists() else None)


def fetch() -> str | None:
    """Fetch Debian's; returns why it could not be had."""
    return debian.fetch("prometheus", "usr/bin/promtool", cached())


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
