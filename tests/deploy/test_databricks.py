"""`reco deploy databricks` against a workspace that keeps what it is told, as the documented interface does."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from jobs.deploy.artifacts import Artifact, Bundle
from jobs.deploy.config import Job
from tests.deploy.conftest import Reco

Deployment = Callable[..., str]
DAILY = ("daily", "--", "--date", "2026-03-09")


def files_of(job: Job) -> Bundle:
    """A bundle without content."""
    code, conf, jars = (Artifact(name, b"") for name in ("reco-0.zip", "conf-0.zip", "jars-0.txt"))
    return Bundle(code, Artifact(f"{job}-0.py", b""), conf, jars, "conf/databricks.yaml")


class Workspace:
    """Files, jobs and runs, kept in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.jobs: dict[int, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}  # by idempotency token
        self.calls: list[str] = []
        self.refuse = 0

    def answer(self, request: Request) -> Response:
        self.calls.append(f"{request.method} {request.path}")
        if self.refuse:
            return Response("{}", self.refuse)
        body = request.get_json() if request.method == "POST" else request.args
        found = getattr(self, request.path.rpartition("/")[2].replace("-", "_"))(body)
        return found if isinstance(found, Response) else Response(json.dumps(found), content_type="application/json")

    def get_status(self, body: Any) -> Any:
        if body["path"] in self.files:
            return {"path": body["path"], "object_type": "FILE"}
        return Response(json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}), 404)

    def mkdirs(self, _body: Any) -> Any:
        return {}

    def __getattr__(self, name: str) -> Any:
        if name == "import":
            return self.imported
        raise AttributeError(name)

    def imported(self, body: Any) -> Any:
        assert body["format"] == "RAW"
        self.files[body["path"]] = base64.b64decode(body["content"])
        return {}

    def list(self, body: Any) -> Any:
        if "job_id" in body:
            job = int(body["job_id"])
            return {"runs": [run for run in self.runs.values() if run["job_id"] == job]}
        found = [{"job_id": id_, "settings": one} for id_, one in self.jobs.items() if one["name"] == body["name"]]
        return {"jobs": found}

    def create(self, body: Any) -> Any:
        self.jobs[len(self.jobs) + 1] = body
        return {"job_id": len(self.jobs)}

    def reset(self, body: Any) -> Any:
        self.jobs[body["job_id"]] = body["new_settings"]
        return {}

    def run_now(self, body: Any) -> Any:
        new = {"run_id": len(self.runs) + 1, "job_id": body["job_id"], "state": {"result_state": "SUCCESS"}}
        return self.runs.setdefault(body["idempotency_token"], new)

    def cancel_all(self, _body: Any) -> Any:
        return {}


@pytest.fixture
def workspace(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    there = Workspace()
    for method in ("GET", "POST"):
        httpserver.expect_request(re.compile("/api/.*"), method=method).respond_with_handler(there.answer)
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-secret")
    return there


def test_files_job_and_run_are_made_once(
    workspace: Workspace, httpserver: HTTPServer, reco: Reco, deployment: Deployment
) -> None:
    to = deployment(host=httpserver.url_for("").rstrip("/"))
    code, planned, _ = reco("databricks", "--to", to, "--plan", "--json", *DAILY)
    assert code == 0
    assert not workspace.files
    assert not workspace.jobs
    assert not workspace.runs
    code, told, _ = reco("databricks", "--to", to, "--json", *DAILY)
    assert code == 0
    assert [c["what"] for c in json.loads(told)["changes"]] == [c["what"] for c in json.loads(planned)["changes"]]
    task = workspace.jobs[1]["tasks"][0]
    assert task["spark_python_task"]["python_file"] in workspace.files
    assert task["libraries"][0]["whl"] in workspace.files
    settings = task["spark_python_task"]["parameters"][1]
    assert workspace.files[settings] == Path("conf/databricks.yaml").read_bytes()
    assert len(workspace.runs) == 1
    workspace.calls.clear()
    assert reco("databricks", "--to", to, *DAILY)[1].startswith("Nothing to do: ")
    assert not [call for call in workspace.calls if call.startswith("POST")]


def test_a_changed_stream_is_reset_and_its_run_ended(
    workspace: Workspace, httpserver: HTTPServer, reco: Reco, deployment: Deployment
) -> None:
    host = httpserver.url_for("").rstrip("/")
    assert reco("databricks", "--to", deployment(host=host), "streaming")[0] == 0
    assert workspace.runs == {}  # the platform starts it
    code, told, _ = reco("databricks", "--to", deployment(host=host, workers="5"), "--json", "streaming")
    assert code == 0
    assert [change["verb"] for change in json.loads(told)["changes"]] == ["update", "cancel"]
    assert workspace.jobs[1]["job_clusters"][0]["new_cluster"]["num_workers"] == 5
    assert "POST /api/2.2/jobs/runs/cancel-all" in workspace.calls


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(403, "renew the token that databricks.token refers to"), (500, "(500): INTERNAL SERVER ERROR")],
)
def test_a_refusal_is_one_sentence_without_the_token(
    workspace: Workspace, httpserver: HTTPServer, reco: Reco, deployment: Deployment, status: int, sentence: str
) -> None:
    workspace.refuse = status
    code, _, told = reco("databricks", "--to", deployment(host=httpserver.url_for("").rstrip("/")), "--plan", *DAILY)
    assert code == 1
    assert sentence in told
    assert "dapi-secret" not in told


def test_without_a_token_it_says_where_one_is_looked_for(
    reco: Reco, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN", raising=False)
    code, _, told = reco("databricks", "--to", deployment(host="https://x"), "--plan", *DAILY)
    assert code == 2
    assert "databricks.token refers to env:DATABRICKS_TOKEN, which is not set" in told
