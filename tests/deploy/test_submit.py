"""What spark-submit.sh would run, for every target."""

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAY = ("--date", "2026-03-09")


def submit(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if key not in ("MASTER", "SPARK_HOME", "PYSPARK_PYTHON")}
    command = ["bash", str(ROOT / "spark-submit.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean | env, timeout=120)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """A Spark that is only named, and a cache folder with one jar."""
    (tmp_path / "spark/bin").mkdir(parents=True)
    (tmp_path / "spark/bin/spark-submit").touch(mode=0o755)
    (tmp_path / "cache/reco/jars/spark").mkdir(parents=True)
    (tmp_path / "cache/reco/jars/spark/delta.jar").touch()
    return {
        "SPARK_HOME": str(tmp_path / "spark"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "PYSPARK_PYTHON": "python3",
    }


def words_of(told: "subprocess.CompletedProcess[str]") -> list[str]:
    assert told.returncode == 0, told.stderr
    return shlex.split(told.stdout)


def after(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


@pytest.mark.parametrize("first", [("--dry-run",), ("--target", "local", "--dry-run"), ("--dry-run", "--target=local")])
def test_local_is_the_default(home: dict[str, str], first: tuple[str, ...]) -> None:
    words = words_of(submit(*first, "daily", *DAY, "--dry-run", "--conf", "a=b c", **home))
    assert words[0] == f"{home['SPARK_HOME']}/bin/spark-submit"
    assert after(words, "--master") == "local[*]"
    assert after(words, "--conf") == "a=b c"
    assert after(words, "--py-files").endswith(".zip")
    entry = words.index(str(ROOT / "jobs/daily/__main__.py"))
    assert words[entry + 1 :] == [*DAY, "--dry-run"]


def test_master_and_deploy_mode_pass_through(home: dict[str, str]) -> None:
    words = words_of(submit("--dry-run", "streaming", "--deploy-mode", "cluster", MASTER="yarn", **home))
    assert after(words, "--master") == "yarn"
    assert after(words, "--deploy-mode") == "cluster"
    assert words[-1] == str(ROOT / "jobs/streaming/__main__.py")


def test_a_standalone_cluster_runs_the_driver_itself_where_it_supervises(home: dict[str, str]) -> None:
    target = ("--target", "standalone", "--dry-run", "daily", "--master", "spark://h:7077")
    words = words_of(submit(*target, "--deploy-mode", "cluster", "--supervise", *DAY, **home))
    assert after(words, "--class") == "org.apache.spark.deploy.PythonRunner"
    assert "--supervise" in words
    assert "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED" in after(words, "--driver-java-options")
    jar = words.index(f"{home['XDG_CACHE_HOME']}/reco/jars/spark/delta.jar", words.index("--class"))
    entry, zipped, *arguments = words[jar + 1 :]
    assert entry == str(ROOT / "jobs/daily/__main__.py")
    assert zipped.endswith(".zip")
    assert arguments == [*DAY]
    client = words_of(submit(*target, *DAY, **home))
    assert "--class" not in client
    assert after(client, "--py-files") == zipped


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--target", "moon", "daily"), "knows the targets local, standalone, emr, emr-serverless and databricks"),
        (("--target", "standalone", "daily"), "--target standalone needs the cluster's master"),
        (("--target", "local", "--master", "yarn", "daily"), "MASTER is yarn"),
        (("daily", "--supervise"), "--supervise needs a standalone cluster"),
        (("--target", "emr", "--supervise", "streaming"), "--supervise is for a standalone cluster"),
        (("--target", "emr", "--jars", "x.jar", "streaming"), "Name jars for the target emr in conf/deploy.yaml"),
        (("--to", "x.yaml", "daily"), "--to is for the targets"),
        (("--target",), "--target needs a value"),
        (("--target", "emr"), "Say which job"),
    ],
)
def test_what_cannot_be_is_one_sentence(home: dict[str, str], words: tuple[str, ...], sentence: str) -> None:
    told = submit("--dry-run", *words, **home)
    assert told.returncode == 2
    assert sentence in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_target_with_an_interface_prints_its_request(deployment: Callable[..., str]) -> None:
    to = deployment(host="https://x", bucket="lake")
    told = submit("--target", "emr", "--to", to, "--dry-run", "streaming", "--conf", "spark.a=b c", "--debug")
    assert told.returncode == 0, told.stderr
    script = json.loads(told.stdout)["HadoopJarStep"]["Args"][2]
    assert "--conf 'spark.a=b c'" in script
    assert "while :; do spark-submit" in script
    assert "--settings conf/emr.yaml --debug &" in script
    checked = subprocess.run(["bash", "-n", "-c", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr

    told = submit("--target=emr-serverless", "--to", to, "--dry-run", "daily", "--executor-memory", "4g", *DAY)
    run = json.loads(told.stdout)
    assert run["mode"] == "BATCH"
    assert run["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"].endswith("--executor-memory 4g")
    (defaults,) = run["configurationOverrides"]["applicationConfiguration"]
    assert defaults["properties"]["spark.archives"].endswith(".zip#conf")

    told = submit("--target=databricks", "--to", to, "--dry-run", "streaming")
    assert json.loads(told.stdout)["continuous"] == {"pause_status": "UNPAUSED"}


@pytest.mark.parametrize("words", [("--date", "2026-99-09"), ("--date=09.03.2026",), ("--stale", "--date")])
def test_a_day_that_is_none_is_refused_before_a_cluster_is_asked(
    reco: Callable[..., tuple[int, str, str]], deployment: Callable[..., str], words: tuple[str, ...]
) -> None:
    code, out, told = reco("emr-serverless", "daily", "--to", deployment(), "--request", "--", *words)
    assert (code, out) == (2, "")
    assert "is no date: write it as YYYY-MM-DD" in told
