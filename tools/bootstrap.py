"""Sets up what a make target needs: checks this machine, the Python environment, the jars. A second run does nothing.

Standard library only: it runs before anything is installed. What is in the way is said in one sentence, exit code 2.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
from ivy import Ivy, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
JAVA_AT_LEAST = 17
MIN_FREE_MB = 4_000  # Spark's package alone passes through the disk three times: download, wheel, installed


@dataclass(frozen=True)
class Environment:
    """A virtual environment: its folder, extras of setup.py, packages beside them, configurations of conf/jars.xml."""

    folder: str
    extras: str
    jars: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    spark: str | None = "pyspark==4.1.1"
    loose: tuple[str, ...] = ()  # installed without what they say they require


BENCHED = ("datacompy==1.1.0", "pyspark-extension==2.15.0.4.1")

ENVIRONMENTS = {
    "main": Environment(
        ".venv", "local,duckdb,ingest,deploy,alerts,console,notebooks,test,demo,lint", ("spark", "broker", "s3")
    ),
    # Apart, for pyspark-extension puts its jar into pyspark; datacompy asks for an older pandas than it needs.
    "bench": Environment(".venv-bench", "local,duckdb,ingest,test,demo,bench", ("spark", "broker"), loose=BENCHED),
    "spark40": Environment(".venv-spark40", "test,duckdb", ("spark40",), ("delta-spark==4.3.1",), "pyspark==4.0.2"),
    "duckdb": Environment(".venv-duckdb", "test,duckdb", spark=None),
}


def main(name: str = "main") -> int:
    """Bring environment `name` up to date; returns the exit code."""
    if name not in ENVIRONMENTS:
        print(f"tools/bootstrap.sh knows {', '.join(ENVIRONMENTS)}, not {name!r}.", file=sys.stderr)
        return 2
    env = ENVIRONMENTS[name]
    try:
        if env.spark:
            check_java()
        if up_to_date(name, env):
            return 0
        check_writable(ROOT)
        check_writable(cache_dir())
        check_disk(ROOT)
        check_disk(cache_dir())
        with lock(cache_dir() / "bootstrap.lock"):
            if not up_to_date(name, env):
                started = time.monotonic()
                set_up(name, env)
                say(f"ready after {time.monotonic() - started:.0f} s")
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return trouble.exit_code
    return 0


def check_java() -> None:
    """Java of JAVA_HOME, or of PATH, is there and new enough."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    where = f"JAVA_HOME={home}" if home else "PATH"
    remedy = "install a JDK or JRE 17 (Debian: apt install openjdk-17-jre-headless; macOS: brew install openjdk@17)"
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        raise Trouble(f"Java {JAVA_AT_LEAST} or newer is needed and was not found by {where}: {remedy}.") from None
    found = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    if told.returncode or not found:
        raise Trouble(f"Java {JAVA_AT_LEAST} or newer is needed and {java} of {where} does not run: {remedy}.")
    if int(found[1]) < JAVA_AT_LEAST:
        raise Trouble(
            f"Java {JAVA_AT_LEAST} or newer is needed and {where} has Java {found[1]}: "
            f"{remedy} and let JAVA_HOME name it."
        )


def check_writable(folder: Path) -> None:
    """The folder can be made and written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Trouble(
            f"Cannot write to {folder} ({error.strerror}): give yourself write permission there, "
            "or choose another place (XDG_CACHE_HOME for the cache)."
        ) from None


def check_disk(folder: Path) -> None:
    """There is room for what will be installed."""
    need = int(os.environ.get("RECO_MIN_FREE_MB", MIN_FREE_MB))
    free = shutil.disk_usage(folder).free // 1_000_000
    if free < need:
        raise Trouble(f"The disk of {folder} has {free:,} MB free and {need:,} MB are needed: make room and run again.")


def cache_dir() -> Path:
    """Where jars are kept: outside the checkout, shared by all checkouts."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reco"


def stamp(name: str, env: Environment) -> Path:
    """Present once the environment has been installed from exactly these inputs."""
    digest = hashlib.sha256(repr((env, sys.version_info[:2], str(ROOT))).encode())
    for file in ("setup.py", "constraints.txt"):
        digest.update((ROOT / file).read_bytes())
    return ROOT / env.folder / f".installed-{name}-{digest.hexdigest()[:16]}"


def up_to_date(name: str, env: Environment) -> bool:
    """True where neither packages nor jars are missing."""
    ivy = Ivy(ROOT / "conf" / "jars.xml", cache_dir() / "jars")
    return stamp(name, env).exists() and all(ivy.is_complete(conf) for conf in env.jars)


def set_up(name: str, env: Environment) -> None:
    """Packages and jars; the jars are fetched while the packages are still being installed."""
    ivy = Ivy(ROOT / "conf" / "jars.xml", cache_dir() / "jars")
    for left in cache_dir().glob("setup-*"):  # of a run that was killed: we hold the lock, so nobody uses it
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="setup-") as temporary:
        tmp = Path(temporary)
        if not stamp(name, env).exists():
            install(name, env, ivy, tmp)
        ivy.resolve(env.jars, ivy_jar(env), tmp)
        ivy.wait()
        if name == "main":
            say("archiving the classes that Spark loads ...")
            python = str(ROOT / env.folder / "bin" / "python")
            run([python, "-m", "tools.class_archive"], tmp / "classes.log", "archive the classes that Spark loads")


def install(name: str, env: Environment, ivy: Ivy, tmp: Path) -> None:
    """Everything into the virtual environment. An interrupted one is begun anew; one of older pins is brought up."""
    folder = ROOT / env.folder
    fresh = not any(folder.glob(".installed-*"))
    say(f"installing Python packages into {env.folder} (a few minutes, once) ...")
    if fresh:
        run([sys.executable, "-m", "venv", "--clear", str(folder)], tmp / "venv.log", "make a virtual environment")
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    quiet = ["-q", "--disable-pip-version-check", "--no-input"]
    pins = tmp / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins.write_text("\n".join([line for line in lines if not line.startswith("pyspark==")] + [env.spark or ""]))
    run([*pip, "install", *quiet, "-c", str(pins), "pip", "setuptools"], tmp / "pip.log", "install pip")

    # Spark is by far the largest package: it is fetched and built beside all the others, and the jars right after it.
    add = [*pip, "install", *quiet, "--no-build-isolation", "-c", str(pins)]
    others = ",".join(extra for extra in env.extras.split(",") if extra != "local")
    spark = None
    if env.spark:
        wheel = [*pip, "wheel", *quiet, "--no-build-isolation", "--no-deps", "-w", str(tmp), env.spark]
        spark = start(wheel, tmp / "spark.log")
    rest = start([*add, "-e", f"{ROOT}[{others}]"], tmp / "rest.log")
    try:
        if spark:
            finish(spark, tmp / "spark.log", f"download {env.spark}")
            ivy.resolve(env.jars, extract_ivy(tmp), tmp)
        finish(rest, tmp / "rest.log", "install the Python packages")
    finally:
        for process in (spark, rest):
            if process and process.poll() is None:
                process.terminate()
    wheels = [str(path) for path in tmp.glob("pyspark-*.whl")]
    if spark or env.packages:
        run(
            [*add, *wheels, *env.packages, "-e", f"{ROOT}[{env.extras}]"],
            tmp / "all.log",
            "install the Python packages",
        )
    if env.loose:
        run([*add, "--no-deps", *env.loose], tmp / "loose.log", "install what the benchmark compares with")
    for old in folder.glob(f".installed-{name}-*"):
        old.unlink()
    stamp(name, env).touch()


def extract_ivy(tmp: Path) -> Path:
    """Ivy's jar out of the pyspark wheel that was just built, before that is installed."""
    import zipfile

    wheel = next(tmp.glob("pyspark-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if re.search(r"/jars/ivy-[\d.]+\.jar$", name))
        return Path(archive.extract(member, tmp))


def ivy_jar(env: Environment) -> Path:
    """Ivy's jar where pyspark is installed; a path that does not exist where it is not."""
    found = sorted((ROOT / env.folder).glob("lib/python*/site-packages/pyspark/jars/ivy-*.jar"))
    return found[0] if found else Path("ivy.jar")


def run(command: list[str], log: Path, what: str) -> None:
    """A command to its end."""
    finish(start(command, log), log, what)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """A command in the background, its output in a log."""
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=ROOT)


def finish(process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    """Wait; a failure shows the end of the log and becomes one sentence."""
    if process.wait() == 0:
        return
    text = log.read_text(errors="replace")
    if "No space left on device" in text:
        raise Trouble(f"Could not {what}, the disk is full: make room and run again.")
    print("\n".join(text.splitlines()[-15:]), file=sys.stderr)
    remedy = "see the lines above; where the network is at fault, run again, it goes on from what is cached"
    if "ensurepip" in text:
        remedy = "Python's venv module is not complete (Debian: apt install python3.11-venv)"
    raise Trouble(f"Could not {what}: {remedy}.", exit_code=1)


@contextmanager
def lock(path: Path) -> "Iterator[IO[str]]":
    """One set-up at a time on this machine; the operating system frees it, whatever happens to its holder."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running, waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:2]))
    except KeyboardInterrupt:
        print("Interrupted; run again to go on.", file=sys.stderr)
        sys.exit(130)
