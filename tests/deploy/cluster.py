"""A Spark standalone cluster of processes on this machine: a master, and workers that can be killed."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyspark

_HOME = Path(pyspark.__file__).parent
_DEPLOY = "org.apache.spark.deploy"


@dataclass
class Cluster:
    """Its address, its web page's port, and the processes of its workers."""

    url: str
    page: int
    folder: Path
    env: dict[str, str]
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What the master says of workers, applications and drivers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/json/", timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def add_worker(self) -> None:
        """Start a worker with two cores."""
        name = f"worker-{len(self.workers)}"
        words = ["-h", "127.0.0.1", "-c", "2", "-m", "3g", "-d", str(self.folder / name), "--webui-port", "0"]
        self.workers.append(
            _start(f"{_DEPLOY}.worker.Worker", [*words, self.url], self.folder / f"{name}.log", self.env)
        )

    def executors(self, worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """The executors that a worker runs."""
        return [one for one in _children(worker) if _runs(one, "CoarseGrainedExecutorBackend")]

    def drivers(self) -> list[psutil.Process]:
        """The drivers that the workers run."""
        return [one for worker in self.workers for one in _children(worker) if _runs(one, "DriverWrapper")]


@contextmanager
def cluster(folder: Path, workers: int, env: Mapping[str, str]) -> Iterator[Cluster]:
    """A cluster that is ready; every process of it ends with the block."""
    port, page = _free_port(), _free_port()
    own = {**env, "SPARK_HOME": str(_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
    there = Cluster(f"spark://127.0.0.1:{port}", page, folder, own)
    words = ["-h", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
    master = _start(f"{_DEPLOY}.master.Master", words, folder / "master.log", own)
    try:
        wait_for(lambda: _answers(there), 120)
        for _ in range(workers):
            there.add_worker()
        wait_for(lambda: there.state()["aliveworkers"] == workers, 120)
        yield there
    finally:
        for process in [*there.workers, master]:
            for child in _children(process):
                _kill(child)
            process.kill()
            process.wait(20)


def wait_for(true: Callable[[], object], seconds: float) -> None:
    """Until it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not true after {seconds} s"
        time.sleep(0.1)


def _answers(there: Cluster) -> bool:
    try:
        return bool(there.state()["status"] == "ALIVE")
    except OSError:
        return False


def _start(name: str, words: list[str], log: Path, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    command = [str(_HOME / "bin/spark-class"), name, *words]
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(env), cwd=log.parent)


def _children(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _runs(process: psutil.Process, name: str) -> bool:
    try:
        return any(name in word for word in process.cmdline())
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def clean_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would lead Spark elsewhere."""
    unwanted = ("MASTER", "SPARK_HOME", "PYTHONPATH", "SPARK_ENV_LOADED")
    return {key: value for key, value in os.environ.items() if key not in unwanted} | more
