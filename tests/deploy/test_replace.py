"""A stream is replaced only once the old one has ended: two of them would write the same tables."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from jobs.common.errors import UserError
from tests.deploy.conftest import Reco

Aws = Callable[[str], Any]
Deployment = Callable[..., str]


class Steps:
    """The steps of one cluster, with states that change; moto's have none that end and cannot be cancelled."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.calls: list[str] = []
        self.looks_until_ended = 2

    def answer(self, request: Request) -> Response:
        call = request.headers["X-Amz-Target"].rpartition(".")[2]
        self.calls.append(call)
        found = getattr(self, call)(request.get_json(force=True))
        return Response(json.dumps(found), content_type="application/x-amz-json-1.1")

    def _step(self, id_: str) -> dict[str, Any]:
        return {"Id": id_, "Name": self.names[id_], "Status": {"State": self.states[id_]}}

    def DescribeCluster(self, body: Any) -> Any:  # noqa: N802 EMR's names
        return {"Cluster": {"Id": body["ClusterId"], "Status": {"State": "RUNNING"}}}

    def ListSteps(self, body: Any) -> Any:  # noqa: N802
        return {"Steps": [self._step(id_) for id_ in self.names if self.states[id_] in body["StepStates"]]}

    def DescribeStep(self, body: Any) -> Any:  # noqa: N802
        self.looks_until_ended -= 1
        if self.looks_until_ended == 0:
            self.states[body["StepId"]] = "CANCELLED"
        return {"Step": self._step(body["StepId"])}

    def CancelSteps(self, body: Any) -> Any:  # noqa: N802
        for id_ in body["StepIds"]:
            self.states[id_] = "CANCEL_PENDING"
        return {"CancelStepsInfoList": []}

    def AddJobFlowSteps(self, body: Any) -> Any:  # noqa: N802
        assert "CANCEL_PENDING" not in self.states.values(), "beside one that has not ended"
        id_ = f"s-{len(self.names) + 1}"
        self.names[id_], self.states[id_] = body["Steps"][0]["Name"], "RUNNING"
        return {"StepIds": [id_]}


def test_the_new_step_is_added_once_the_old_one_has_ended(
    aws: Aws, httpserver: HTTPServer, reco: Reco, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps()
    httpserver.expect_request("/").respond_with_handler(steps.answer)
    monkeypatch.setenv("AWS_ENDPOINT_URL_EMR", httpserver.url_for("/"))
    to = deployment(cluster_id="j-1")
    assert reco("emr", "--to", to, "streaming")[0] == 0
    assert reco("emr", "--to", to, "streaming")[1].startswith("Nothing to do: ")
    assert steps.calls.count("AddJobFlowSteps") == 1
    code, told, _ = reco("emr", "--to", to, "--spark=--conf", "--spark=spark.x=1", "streaming")
    assert code == 0, told
    assert list(steps.states.values()) == ["CANCELLED", "RUNNING"]
    steps.states["s-2"] = "FAILED"
    assert reco("emr", "--to", to, "--spark=--conf", "--spark=spark.x=1", "streaming")[0] == 0
    assert list(steps.states.values()) == ["CANCELLED", "FAILED", "RUNNING"]


def test_a_run_of_serverless_is_cancelled(aws: Aws) -> None:
    from jobs.deploy.emr_serverless import _cancel

    client = aws("emr-serverless")
    application = client.create_application(name="a", type="SPARK", releaseLabel="emr-7.12.0")["applicationId"]
    role = "arn:aws:iam::123456789012:role/reco"
    run = client.start_job_run(applicationId=application, executionRoleArn=role, name="x")["jobRunId"]
    _cancel(client, {"applicationId": application, "id": run})()
    assert client.get_job_run(applicationId=application, jobRunId=run)["jobRun"]["state"] == "CANCELLED"


def test_one_that_does_not_end_is_named_and_nothing_is_started() -> None:
    pytest.importorskip("boto3")
    from jobs.deploy.aws import wait_until_ended

    with pytest.raises(UserError, match=r"The step s-1 has not ended 0 s after .* nothing was started beside it"):
        wait_until_ended("The step s-1", lambda: False, seconds=0, pause=0)
