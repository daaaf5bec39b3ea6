"""EMR Serverless: an application that is made where there is none, and job runs in it."""

from typing import Any

from jobs.common.aws import client, explained
from jobs.deploy.aws import wait_until_ended
from jobs.deploy.config import Deploy, Job
from jobs.deploy.plan import Change

_ALIVE = ["SUBMITTED", "PENDING", "SCHEDULED", "RUNNING", "QUEUED", "CANCELLING"]
_GONE = ("TERMINATED",)


def changes(deploy: Deploy, job: Job, run: dict[str, Any], *, again: bool) -> tuple[list[Change], list[str]]:
    """What to do so that the application is as configured and this run, for the stream no other one, is in it."""
    serverless = client("emr-serverless")
    name = deploy.emr_serverless.application
    with explained("look at the applications of EMR Serverless"):
        application = _application(serverless, name)
        runs = _runs(serverless, application) if application else []
    found, kept, made = _application_changes(deploy, serverless, application)
    alive = [one for one in runs if one["state"] in _ALIVE]
    done = [] if again or job is Job.STREAMING else [one for one in runs if one["state"] == "SUCCESS"]
    same = next((one for one in alive + done if one.get("name") == run["name"]), None)
    if same:
        return found, [*kept, f"run {run['name']} ({same['id']}, {same['state']})"]
    if job is Job.STREAMING:  # one writing application a table
        old = [one for one in alive if str(one.get("name", "")).startswith(f"{deploy.name}-{job}-")]
        found += [Change("cancel", f"run {one['name']} ({one['id']})", _cancel(serverless, one)) for one in old]
    # With this token two deployments at once start one run; after a run that failed it is another one.
    token = f"{run['name']}-{sum(one.get('name') == run['name'] for one in runs)}"

    def start() -> str:
        with explained(f"start the run {run['name']}"):
            started = serverless.start_job_run(applicationId=made["id"], clientToken=token, **run)
        return str(started["jobRunId"])

    return [*found, Change("start", f"run {run['name']} in {name}", start)], kept


def _application(serverless: Any, name: str) -> dict[str, Any] | None:
    for page in serverless.get_paginator("list_applications").paginate():
        for one in page["applications"]:
            if one["name"] == name and one["state"] not in _GONE:
                found: dict[str, Any] = serverless.get_application(applicationId=one["id"])["application"]
                return found
    return None


def _application_changes(
    deploy: Deploy, serverless: Any, there: dict[str, Any] | None
) -> tuple[list[Change], list[str], dict[str, str]]:
    """Changes to the application, what stays, and where its id will be."""
    wanted = deploy.emr_serverless
    name, most = wanted.application, {"cpu": wanted.max_cpu, "memory": wanted.max_memory}
    made: dict[str, str] = {"id": there["applicationId"]} if there else {}

    def create() -> str:
        with explained(f"create the application {name}"):
            answer = serverless.create_application(
                name=name,
                type="SPARK",
                releaseLabel=wanted.release,
                maximumCapacity=most,
                clientToken=f"{deploy.name}-{name}",
            )
        made["id"] = answer["applicationId"]
        return made["id"]

    def update() -> None:
        with explained(f"update the application {name}"):
            serverless.update_application(applicationId=made["id"], releaseLabel=wanted.release, maximumCapacity=most)

    if there is None:
        return [Change("create", f"application {name} ({wanted.release})", create)], [], made
    has = {key: there.get("maximumCapacity", {}).get(key) for key in most}
    if there["releaseLabel"] != wanted.release or has != most:
        what = f"application {name}: {there['releaseLabel']}, {has} to {wanted.release}, {most}"
        return [Change("update", what, update)], [], made
    return [], [f"application {name} ({made['id']})"], made


def _runs(serverless: Any, application: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        pages = serverless.get_paginator("list_job_runs").paginate(applicationId=application["applicationId"])
        return [run for page in pages for run in page["jobRuns"]]
    except serverless.exceptions.ResourceNotFoundException:  # it never had one
        return []


def _cancel(serverless: Any, run: dict[str, Any]) -> Any:
    name = {"applicationId": run["applicationId"], "jobRunId": run["id"]}

    def cancel() -> None:
        with explained(f"cancel the run {run['id']}"):
            serverless.cancel_job_run(**name)
            wait_until_ended(
                f"The run {run['id']}", lambda: serverless.get_job_run(**name)["jobRun"]["state"] not in _ALIVE
            )

    return cancel
