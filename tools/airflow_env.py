"""Sets up an Airflow to try the DAG with, in an environment of its own in the cache folder.

Apart, for it pins a hundred packages that we have in other versions. Prints where its Python is; exit code 77 where it
cannot be had. Standard library only.
"""

import subprocess
import sys
import venv
from pathlib import Path

import debian

NONE = 77
PACKAGES = ("apache-airflow-core==3.3.2", "apache-airflow-task-sdk==1.3.2", "apache-airflow-providers-standard==1.21.0")


def python() -> Path:
    """Where its Python is, or would be."""
    return debian.cache() / "airflow" / "bin" / "python"


def is_there() -> bool:
    """True once everything is installed."""
    return (debian.cache() / "airflow" / ".complete").exists()


def fetch() -> str | None:
    """Install it where it is not there; returns why it could not be had."""
    if is_there():
        return None
    print("setup: fetching Airflow (a minute or two, once) ...", file=sys.stderr, flush=True)
    folder = debian.cache() / "airflow"
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python()), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    (folder / ".complete").touch()
    return None


def main() -> int:
    """Fetch it and print where it is; returns the exit code."""
    trouble = fetch()
    print(f"No Airflow: {trouble}." if trouble else python(), file=sys.stderr if trouble else sys.stdout)
    return NONE if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
