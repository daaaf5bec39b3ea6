"""The zipped wheel is what drivers and executors import, and a job's exit code survives spark-submit."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_zip() -> Path:
    told = subprocess.run([sys.executable, ROOT / "tools/pyfiles.py"], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip())


def test_the_zip_holds_every_module_and_is_built_once() -> None:
    built = build_zip()
    before = built.stat().st_mtime_ns
    assert build_zip() == built
    assert built.stat().st_mtime_ns == before
    with zipfile.ZipFile(built) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    written = {
        str(path.relative_to(ROOT))
        for package in ("schemas", "reco_rules", "jobs")
        for path in (ROOT / package).rglob("*.py")
    }
    assert packed == written


def test_it_works_on_driver_and_executors_of_a_cluster(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    spark_submit = Path(sys.executable).with_name("spark-submit")
    command: list[str | Path] = [spark_submit, "--master", "local-cluster[2,1,1024]", "--py-files", build_zip()]
    command += ["--conf", "spark.driver.host=127.0.0.1", ROOT / "tests/packaging/submitted.py", out]
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "SPARK_HOME")}
    env |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env, timeout=300)
    assert told.returncode == 3, told.stderr[-3000:]
    found = json.loads(out.read_text())
    assert all(".zip/" in place for place in found["driver"]), found["driver"]
    assert len({executor for executor, *_ in found["executors"]}) == 2
    for _, schemas_file, rules_file, tables in found["executors"]:
        assert ".zip/" in schemas_file
        assert ".zip/" in rules_file
        assert tables == found["tables"]
