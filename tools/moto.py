"""Sets up moto's server, an object store and a catalog to test against, in an environment of its own.

Apart, for what it stands on asks for an older python-dateutil than ours. Prints where the server is; exit code 77 where
it cannot be had. Standard library only.
"""

import subprocess
import sys
import venv
from pathlib import Path

import debian

NONE = 77
PACKAGES = (
    "moto[s3,glue]==5.2.5",
    "pyparsing==3.3.3",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "boto3==1.44.5",
    "botocore==1.44.5",
)


def server() -> Path:
    """Where its command is, or would be."""
    return debian.cache() / "moto" / "bin" / "moto_server"


def fetch() -> str | None:
    """Install it where it is not there; returns why it could not be had."""
    if server().exists() and list(server().parents[1].glob("lib/*/site-packages/pyparsing")):
        return None
    print("setup: fetching moto's server ...", file=sys.stderr, flush=True)
    folder = debian.cache() / "moto"
    venv.create(folder, clear=not server().exists(), with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1:][0]


def main() -> int:
    """Fetch it and print where it is; returns the exit code."""
    with debian.alone("moto"):
        trouble = fetch()
    print(f"No moto: {trouble}." if trouble else server(), file=sys.stderr if trouble else sys.stdout)
    return NONE if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
