"""A Spark standalone cluster of processes on this machine: a master, workers that can be killed, jobs sent there."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyspark

ROOT = Path(__file__).parents[2]
_HOME = Path(pyspark.__file__).parent
_DEPLOY = "org.apache.spark.deploy"
#: One executor on each worker; a table of a few rows needs no fifty tasks to read its log.
_SMALL = ("--executor-memory", "1g", "--driver-memory", "1g", "--executor-cores", "2")
_CONF = {
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.ui.enabled": "false",
}


@dataclass
class Cluster:
    """Its address, its web page's port, and the processes of its workers."""

    url: str
    page: int
    folder: Path
    env: dict[str, str]
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    started: int = 0

    def state(self) -> dict[str, Any]:
        """What the master says of workers, applications and drivers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page}/json/", timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def add_worker(self) -> None:
        """Start a worker with two cores."""
        self.started += 1
        name = f"worker-{self.started}"
        words = ["-h", "127.0.0.1", "-c", "2", "-m", "3g", "-d", str(self.folder / name), "--webui-port", "0"]
        self.workers.append(
            _start(f"{_DEPLOY}.worker.Worker", [*words, self.url], self.folder / f"{name}.log", self.env)
        )

    def executors(self, worker: "subprocess.Popen[bytes]") -> list[psutil.Process]:
        """The executors that a worker runs."""
        return [one for one in _children(worker) if _runs(one, "CoarseGrainedExecutorBackend")]

    def kill_a_worker(self) -> None:
        """`kill -9` of a worker that runs an executor, and of its executors."""
        victim = next(worker for worker in self.workers if self.executors(worker))
        for one in self.executors(victim):
            one.kill()
        victim.send_signal(signal.SIGKILL)
        victim.wait(20)
        self.workers.remove(victim)

    def errors(self) -> str:
        """The end of what each driver said that a worker ran."""
        return "\n".join(path.read_text()[-2000:] for path in self.folder.glob("worker-*/driver-*/stderr"))

    def submit(
        self, job: str, log: Path, options: Sequence[str] = (), words: Sequence[str] = (), **env: str
    ) -> "subprocess.Popen[bytes]":
        """`./spark-submit.sh` with a job; `options` are of spark-submit, `words` of the job."""
        settings = log.with_suffix(".yaml")
        settings.write_text("spark: {master: null, shuffle_partitions: 4, jars: []}\n")
        command = ["bash", str(ROOT / "spark-submit.sh"), "--target", "standalone", "--master", self.url, *_SMALL]
        command += [word for key, value in _CONF.items() for word in ("--conf", f"{key}={value}")]
        command += [*options, job, "--settings", str(settings), *words]
        home = {"SPARK_HOME": str(_HOME), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
        own = clean_environment(**home, **env)
        with log.open("wb") as out:
            return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=own, cwd=log.parent)

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
        wait_for(lambda: _answers(there), 300)
        for _ in range(workers):
            there.add_worker()
        wait_for(lambda: there.state()["aliveworkers"] == workers, 300)
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
