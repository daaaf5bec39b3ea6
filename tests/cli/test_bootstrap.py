"""What stands in a newcomer's way is said in one sentence with a remedy, before anything is downloaded; exit code 2."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the bootstrap needs of a checkout, without an environment."""
    copy = tmp_path / "checkout"
    for file in ("tools/bootstrap.sh", "tools/bootstrap.py", "tools/ivy.py", "conf/jars.xml", "setup.py"):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    shutil.copy(ROOT / "constraints.txt", copy)
    return copy


def fake(folder: Path, name: str, script: str) -> Path:
    """An executable of that name, in a folder to be put on PATH; returns the folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


def bootstrap(checkout: Path, path: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": path, "HOME": str(checkout.parent), "XDG_CACHE_HOME": str(checkout.parent / "cache"), **env}
    command = [str(checkout / "tools" / "bootstrap.sh")]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=60)


def assert_refused(told: subprocess.CompletedProcess[str], *words: str) -> None:
    assert told.returncode == 2, told.stderr
    lines = told.stderr.strip().splitlines()
    assert len(lines) == 1, told.stderr
    for word in words:
        assert word in lines[0]


def plain_path(tmp_path: Path) -> str:
    """A PATH with Python and the shell's tools, and no Java."""
    tools = fake(tmp_path / "tools", "python3.11", f'exec "{sys.executable}" "$@"')
    for name in ("bash", "env", "dirname"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    return str(tools)


JAVA_17 = "echo 'openjdk version \"17.0.1\" 2021-10-19' >&2"


def test_missing_java(checkout: Path, tmp_path: Path) -> None:
    assert_refused(bootstrap(checkout, plain_path(tmp_path)), "Java 17 or newer is needed", "not found", "install")


def test_missing_java_where_java_home_points_nowhere(checkout: Path, tmp_path: Path) -> None:
    told = bootstrap(checkout, plain_path(tmp_path), JAVA_HOME="/nowhere")
    assert_refused(told, "Java 17", "JAVA_HOME=/nowhere", "install")


@pytest.mark.parametrize(("says", "found"), [("1.8.0_392", "Java 8"), ("11.0.21", "Java 11"), ("16", "Java 16")])
def test_old_java(checkout: Path, tmp_path: Path, says: str, found: str) -> None:
    java = fake(tmp_path / "java", "java", f"echo 'openjdk version \"{says}\"' >&2")
    assert_refused(
        bootstrap(checkout, f"{java}:{plain_path(tmp_path)}"), "Java 17 or newer is needed", found, "install"
    )


def test_java_that_is_only_a_stub(checkout: Path, tmp_path: Path) -> None:
    java = fake(tmp_path / "java", "java", "echo 'The operation couldn’t be completed.' >&2; exit 1")
    assert_refused(bootstrap(checkout, f"{java}:{plain_path(tmp_path)}"), "does not run", "install")


def test_missing_python(checkout: Path, tmp_path: Path) -> None:
    path = plain_path(tmp_path)
    fake(Path(path), "python3.11", "exit 1")
    assert_refused(bootstrap(checkout, path), "Python 3.11 is needed", "PYTHON=")


def test_cache_that_cannot_be_written_to(checkout: Path, tmp_path: Path) -> None:
    java = fake(tmp_path / "java", "java", JAVA_17)
    told = bootstrap(checkout, f"{java}:{plain_path(tmp_path)}", XDG_CACHE_HOME="/proc/nobody")
    assert_refused(told, "Cannot write to /proc/nobody/reco", "write permission", "XDG_CACHE_HOME")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_checkout_that_cannot_be_written_to(checkout: Path, tmp_path: Path) -> None:
    java = fake(tmp_path / "java", "java", JAVA_17)
    checkout.chmod(0o555)
    try:
        assert_refused(bootstrap(checkout, f"{java}:{plain_path(tmp_path)}"), f"Cannot write to {checkout}")
    finally:
        checkout.chmod(0o755)


def test_a_disk_that_is_nearly_full(checkout: Path, tmp_path: Path) -> None:
    java = fake(tmp_path / "java", "java", JAVA_17)
    told = bootstrap(checkout, f"{java}:{plain_path(tmp_path)}", RECO_MIN_FREE_MB="999999999")
    assert_refused(told, "MB free and 999,999,999 MB are needed", "make room")


def test_nothing_was_begun(checkout: Path, tmp_path: Path) -> None:
    bootstrap(checkout, plain_path(tmp_path))
    assert not (checkout / ".venv").exists()
    assert not (tmp_path / "cache").exists()
