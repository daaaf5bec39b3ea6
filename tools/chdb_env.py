"""Sets up chdb, ClickHouse's engine to test against, in an environment of its own: it takes half a gigabyte.

Prints its Python; exit code 77 where it cannot be had. Standard library only.
"""

import subprocess
import sys
import venv
from pathlib import Path

import debian

NONE = 77
PACKAGES = ("chdb==4.4.0", "chdb-core==26.9.0", "pyarrow==26.0.1")


def python() -> Path:
    """Its Python, or where it would be."""
    return debian.cache() / "chdb" / "bin" / "python"


def fetch() -> str | None:
    """Install it where it is not there; returns why it could not be had."""
    if list(python().parents[1].glob("lib/*/site-packages/chdb/*.so")):
        return None
    print("setup: fetching ClickHouse's engine ...", file=sys.stderr, flush=True)
    venv.create(python().parents[1], clear=True, with_pip=True)
    command = [str(python()), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return None if done.returncode == 0 else " ".join(done.stderr.strip().splitlines()[-1:])


def main() -> int:
    """Fetch it and print its Python; returns the exit code."""
    with debian.alone("chdb"):
        trouble = fetch()
    print(f"No chdb: {trouble}." if trouble else python(), file=sys.stderr if trouble else sys.stdout)
    return NONE if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
