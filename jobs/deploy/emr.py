"""EMR on EC2: a job is a step of a cluster that is there."""

from typing import Any

from jobs.common.aws import client, explained
from jobs.common.errors import UserError
from jobs.deploy.aws import wait_until_ended
from jobs.deploy.config import Deploy, Job
from jobs.deploy.plan import Change

_ALIVE = ["PENDING", "RUNNING", "CANCEL_PENDING"]
_USABLE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")


def changes(deploy: Deploy, job: Job, step: dict[str, Any], *, again: bool) -> tuple[list[Change], list[str]]:
    """What to do so that this step, and for the stream no other one, is on the cluster."""
    cluster = deploy.needed("emr.cluster_id")
    emr = client("emr")
    with explained(f"look at the cluster {cluster}"):
        state = emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]
        if state not in _USABLE:
            raise UserError(f"The cluster {cluster} is {state}: name one that runs in emr.cluster_id of {deploy.file}.")
        alive = list(_steps(emr, cluster, _ALIVE))
        done = [] if again or job is Job.STREAMING else list(_steps(emr, cluster, ["COMPLETED"]))
    same = next((found for found in alive + done if found["Name"] == step["Name"]), None)
    if same:
        return [], [f"step {step['Name']} ({same['Id']}, {same['Status']['State']})"]
    found = []
    if job is Job.STREAMING:  # one writing application a table
        old = [other for other in alive if other["Name"].startswith(f"{deploy.name}-{job}-")]
        found += [
            Change("cancel", f"step {other['Name']} ({other['Id']})", _cancel(emr, cluster, other["Id"]))
            for other in old
        ]
    return [*found, Change("start", f"step {step['Name']} on {cluster}", lambda: _start(emr, cluster, step))], []


def _steps(emr: Any, cluster: str, states: list[str]) -> Any:
    for page in emr.get_paginator("list_steps").paginate(ClusterId=cluster, StepStates=states):
        yield from page["Steps"]


def _start(emr: Any, cluster: str, step: dict[str, Any]) -> str:
    with explained(f"add the step {step['Name']} to {cluster}"):
        return str(emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"][0])


def _cancel(emr: Any, cluster: str, step: str) -> Any:
    def state() -> str:
        return str(emr.describe_step(ClusterId=cluster, StepId=step)["Step"]["Status"]["State"])

    def cancel() -> None:
        with explained(f"cancel the step {step} of {cluster}"):
            emr.cancel_steps(ClusterId=cluster, StepIds=[step], StepCancellationOption="TERMINATE_PROCESS")
            wait_until_ended(f"The step {step} of {cluster}", lambda: state() not in _ALIVE)

    return cancel
