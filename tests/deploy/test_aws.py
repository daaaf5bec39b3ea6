"""`reco deploy` against S3, EMR and EMR Serverless: what is there is left alone, what runs is not started twice."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.conftest import BUCKET, Reco

Aws = Callable[[str], Any]
Deployment = Callable[..., str]
DAILY = ("daily", "--", "--date", "2026-03-09")


def cluster(aws: Aws) -> str:
    instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    made = aws("emr").run_job_flow(
        Name="c", Instances=instances, ReleaseLabel="emr-7.12.0", JobFlowRole="r", ServiceRole="s"
    )
    return str(made["JobFlowId"])


def keys(aws: Aws) -> set[str]:
    listed = aws("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {one["Key"] for one in listed}


def verbs(told: str) -> list[str]:
    return [change["verb"] for change in json.loads(told)["changes"]]


def test_a_plan_changes_nothing_and_is_what_is_then_done(aws: Aws, reco: Reco, deployment: Deployment) -> None:
    to = deployment(cluster_id=cluster(aws))
    code, planned, _ = reco("emr", "--to", to, "--plan", "--json", *DAILY)
    assert code == 0
    assert keys(aws) == set()
    assert verbs(planned) == ["upload"] * 4 + ["start"]
    code, done, _ = reco("emr", "--to", to, "--json", *DAILY)
    assert code == 0
    assert [c["what"] for c in json.loads(done)["changes"]] == [c["what"] for c in json.loads(planned)["changes"]]
    assert len(keys(aws)) == 4


def test_a_second_run_uploads_nothing_and_starts_no_second_step(aws: Aws, reco: Reco, deployment: Deployment) -> None:
    there = cluster(aws)
    to = deployment(cluster_id=there)
    assert reco("emr", "--to", to, *DAILY)[0] == 0
    before = {one["Key"]: one["LastModified"] for one in aws("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
    code, told, _ = reco("emr", "--to", to, *DAILY)
    assert code == 0
    assert told.startswith("Nothing to do: ")
    after = {one["Key"]: one["LastModified"] for one in aws("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert after == before
    assert len(aws("emr").list_steps(ClusterId=there)["Steps"]) == 1
    assert reco("emr", "--to", to, "daily", "--", "--date", "2026-03-10")[0] == 0
    assert len(aws("emr").list_steps(ClusterId=there)["Steps"]) == 2
    assert len(keys(aws)) == 4


def test_the_step_reads_what_was_uploaded(aws: Aws, reco: Reco, deployment: Deployment) -> None:
    there = cluster(aws)
    assert reco("emr", "--to", deployment(cluster_id=there), *DAILY)[0] == 0
    step = aws("emr").list_steps(ClusterId=there)["Steps"][0]
    script = step["Config"]["Args"][2]
    named = {word.strip("'") for word in script.split() if word.startswith(f"s3://{BUCKET}/")}
    assert {name.removeprefix(f"s3://{BUCKET}/") for name in named} <= keys(aws)
    assert len(named) == 3


def test_a_changed_setting_stops_the_running_stream_before_the_new_one(
    aws: Aws, reco: Reco, deployment: Deployment
) -> None:
    to = deployment(cluster_id=cluster(aws))
    assert reco("emr", "--to", to, "streaming")[0] == 0
    code, told, _ = reco("emr", "--to", to, "--plan", "--json", "--spark=--conf", "--spark=spark.x=1", "streaming")
    assert code == 0
    assert verbs(told) == ["cancel", "start"]


def test_serverless_makes_its_application_once_and_one_run(aws: Aws, reco: Reco, deployment: Deployment) -> None:
    to = deployment()
    code, told, _ = reco("emr-serverless", "--to", to, "--json", *DAILY)
    assert code == 0
    assert verbs(told) == ["upload"] * 4 + ["create", "start"]
    assert reco("emr-serverless", "--to", to, *DAILY)[1].startswith("Nothing to do: ")
    client = aws("emr-serverless")
    (application,) = client.list_applications()["applications"]
    (run,) = client.list_job_runs(applicationId=application["id"])["jobRuns"]
    submitted = client.get_job_run(applicationId=application["id"], jobRunId=run["id"])["jobRun"]["jobDriver"][
        "sparkSubmit"
    ]
    assert submitted["entryPoint"].removeprefix(f"s3://{BUCKET}/") in keys(aws)
    assert submitted["entryPointArguments"] == ["--settings", "conf/emr.yaml", "--date", "2026-03-09"]
    assert verbs(reco("emr-serverless", "--to", to, "--plan", "--json", "--again", *DAILY)[1]) == ["start"]


def test_serverless_says_what_of_the_application_would_change(aws: Aws, reco: Reco, deployment: Deployment) -> None:
    assert reco("emr-serverless", "--to", deployment(), *DAILY)[0] == 0
    code, told, _ = reco("emr-serverless", "--to", deployment(max_cpu="8 vCPU"), "--plan", "--json", *DAILY)
    assert code == 0
    assert verbs(told) == ["update"]
    assert "8 vCPU" in json.loads(told)["changes"][0]["what"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"bucket": "not-there"}, "There is no bucket not-there in this account and region"),
        ({"cluster_id": "CHANGE-ME"}, "emr.cluster_id: is not filled in"),
        ({"cluster_id": "j-NONE"}, "Could not look at the cluster j-NONE: "),
    ],
)
def test_what_is_not_there_is_named(
    aws: Aws, reco: Reco, deployment: Deployment, values: dict[str, str], sentence: str
) -> None:
    code, _, told = reco("emr", "--to", deployment(**{"cluster_id": cluster(aws), **values}), "--plan", *DAILY)
    assert code in (1, 2)
    assert sentence in told
    assert len(told.splitlines()) == 1


def test_without_credentials_it_says_how_to_give_them(
    aws: Aws, reco: Reco, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = deployment(cluster_id="j-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, _, told = reco("emr", "--to", to, "--plan", *DAILY)
    assert code == 2
    assert "there are no AWS credentials here; set AWS_PROFILE" in told


def test_access_denied_names_the_call(
    aws: Aws, aws_url: str, reco: Reco, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = deployment(cluster_id=cluster(aws))
    aws("iam").create_user(UserName="nobody")
    key = aws("iam").create_access_key(UserName="nobody")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    permit(aws_url, "0")
    try:
        code, _, told = reco("emr", "--to", to, "--plan", *DAILY)
    finally:
        permit(aws_url, "inf")
    assert code == 1
    assert "access denied for HeadBucket" in told


def permit(aws_url: str, calls: str) -> None:
    """How many calls the server answers before it asks for permissions."""
    asked = urllib.request.Request(f"{aws_url}/moto-api/reset-auth", data=calls.encode(), method="POST")
    asked.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(asked)
