"""Builds the wheel and names it .zip, which is the only form that executors take from --py-files; prints its path.

Kept under build/pyfiles by the hash of what went in, so that it is built once for each state of the code.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("schemas", "reco_rules", "jobs")


def sources() -> list[Path]:
    """Everything the wheel is made of."""
    files = [ROOT / "setup.py", ROOT / "pyproject.toml"]
    for package in PACKAGES:
        found = (ROOT / package).rglob("*")
        files += sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)
    return files


def build() -> Path:
    """The zipped wheel of the code as it is now."""
    files = sources()
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    target = ROOT / "build" / "pyfiles" / f"reco-{digest.hexdigest()[:16]}.zip"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        clean = Path(temporary, "source")  # a build in the checkout would take up what earlier builds left there
        for file in files:
            copy = clean / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
        told = subprocess.run(
            [*command, "-w", temporary, str(clean)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if told.returncode:
            sys.exit(f"The wheel could not be built: {(told.stderr or told.stdout).strip()[-500:]}")
        next(Path(temporary).glob("reco-*.whl")).rename(target)
    return target


if __name__ == "__main__":
    print(build())
