"""Databricks: files of the workspace, and jobs by Jobs API 2.2."""

import base64
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from jobs.common.command import one_line
from jobs.common.errors import FAILED, UserError
from jobs.common.secrets import secret
from jobs.deploy.artifacts import Bundle
from jobs.deploy.aws import wait_until_ended
from jobs.deploy.config import Deploy, Job
from jobs.deploy.plan import Change
from jobs.deploy.requests import wheel


class Workspace:
    """A workspace's REST interface; errors are one sentence."""

    def __init__(self, deploy: Deploy) -> None:
        self._host = deploy.needed("databricks.host").rstrip("/")
        token = secret(deploy.databricks.token, f"{deploy.file}: databricks.token")
        self._http = httpx.Client(
            base_url=self._host, headers={"Authorization": f"Bearer {token}"}, timeout=httpx.Timeout(60, connect=10)
        )

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        """GET with query parameters."""
        return self._call("GET", path, params=params)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST with a JSON body."""
        return self._call("POST", path, json=body)

    def is_there(self, path: str) -> bool:
        """Whether a file of the workspace exists."""
        try:
            self.get("/api/2.0/workspace/get-status", path=path)
        except _Missing:
            return False
        return True

    def _call(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **how)
        except httpx.HTTPError as error:
            raise UserError(
                f"{self._host} does not answer ({one_line(error)}); see databricks.host.", FAILED
            ) from error
        if answer.status_code in (401, 403):
            raise UserError(
                f"{self._host} refuses {path} ({answer.status_code}): renew the token that databricks.token refers to, "
                "and let its user write to databricks.folder and manage the jobs.",
                FAILED,
            )
        try:
            body: dict[str, Any] = answer.json()
        except ValueError:
            body = {}
        if answer.is_error:
            if body.get("error_code") == "RESOURCE_DOES_NOT_EXIST":
                raise _Missing(path)
            why = body.get("message") or answer.reason_phrase
            raise UserError(f"{self._host} refuses {path} ({answer.status_code}): {one_line(Exception(why))}.", FAILED)
        return body


class _Missing(Exception):  # noqa: N818 an answer, not an error
    """What was asked for is not there."""


def changes(
    deploy: Deploy, job: Job, body: dict[str, Any], files: Bundle, *, again: bool
) -> tuple[list[Change], list[str]]:
    """What to do so that the files are there and the job is as `body` says; a daily one is run."""
    workspace = Workspace(deploy)
    found, kept = [], []
    for path, content in _files(deploy.databricks.folder, files):
        if workspace.is_there(path):
            kept.append(path.rpartition("/")[2])
        else:
            found.append(Change("upload", path, _upload(workspace, path, content)))
    there = next((one for one in _jobs(workspace, body["name"])), None)
    made: dict[str, Any] = {"id": there["job_id"]} if there else {}
    same = there is not None and there["settings"].get("tags", {}).get("reco_digest") == body["tags"]["reco_digest"]
    if there is None:
        found.append(Change("create", f"job {body['name']}", _create(workspace, body, made)))
    elif same:
        kept.append(f"job {body['name']} ({made['id']})")
    else:
        found.append(Change("update", f"job {body['name']} ({made['id']})", _reset(workspace, body, made)))
    if job is Job.STREAMING and "continuous" in body:
        if there is not None and not same:  # the platform starts a continuous job again by itself, with what is new
            found.append(Change("cancel", f"runs of job {body['name']}", _cancel(workspace, made)))
        return found, kept
    runs = _runs(workspace, made["id"]) if there and same else []
    running = [one for one in runs if "result_state" not in one.get("state", {})]
    good = [one for one in runs if one.get("state", {}).get("result_state") == "SUCCESS"]
    done = running or ([] if again else good)
    if done:
        return found, [*kept, f"run {done[0]['run_id']}"]
    token = f"{body['tags']['reco_digest']}-{len(runs)}"
    return [*found, Change("start", f"run of job {body['name']}", _run(workspace, made, token))], kept


def _files(folder: str, files: Bundle) -> Iterator[tuple[str, bytes]]:
    """Path and content of everything; settings unpacked, for nothing unpacks them there."""
    yield f"{folder}/{wheel(files)}", files.code.content
    yield f"{folder}/{files.entry.name}", files.entry.content
    yield f"{folder}/{files.jars.name}", files.jars.content
    with zipfile.ZipFile(io.BytesIO(files.conf.content)) as archive:
        for name in archive.namelist():
            yield f"{folder}/{files.conf.name.removesuffix('.zip')}/conf/{name}", archive.read(name)


def _jobs(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = workspace.get("/api/2.2/jobs/list", name=name).get("jobs", [])
    if len(listed) > 1:
        ids = ", ".join(str(one["job_id"]) for one in listed)
        raise UserError(f"There are several jobs named {name} ({ids}): delete all but one, or change `name`.", FAILED)
    return listed


def _runs(workspace: Workspace, job: int) -> list[dict[str, Any]]:
    """The newest runs with the settings that the job has now, newest first."""
    listed: list[dict[str, Any]] = workspace.get("/api/2.2/jobs/runs/list", job_id=job, limit=25).get("runs", [])
    return listed


def _upload(workspace: Workspace, path: str, content: bytes) -> Callable[[], None]:
    def upload() -> None:
        workspace.post("/api/2.0/workspace/mkdirs", {"path": path.rpartition("/")[0]})
        text = base64.b64encode(content).decode()
        # RAW keeps a .py file a file; AUTO would make a notebook of one that begins like a notebook.
        workspace.post("/api/2.0/workspace/import", {"path": path, "format": "RAW", "overwrite": True, "content": text})

    return upload


def _create(workspace: Workspace, body: dict[str, Any], made: dict[str, Any]) -> Callable[[], str]:
    def create() -> str:
        made["id"] = workspace.post("/api/2.2/jobs/create", body)["job_id"]
        return str(made["id"])

    return create


def _reset(workspace: Workspace, body: dict[str, Any], made: dict[str, Any]) -> Callable[[], None]:
    def reset() -> None:
        workspace.post("/api/2.2/jobs/reset", {"job_id": made["id"], "new_settings": body})

    return reset


def _cancel(workspace: Workspace, made: dict[str, Any]) -> Callable[[], None]:
    def cancel() -> None:
        path, job = "/api/2.2/jobs/runs/list", made["id"]
        before = [one["run_id"] for one in workspace.get(path, job_id=job, active_only="true").get("runs", [])]
        workspace.post("/api/2.2/jobs/runs/cancel-all", {"job_id": job})

        def ended() -> bool:
            active = workspace.get(path, job_id=job, active_only="true").get("runs", [])
            return not any(one["run_id"] in before for one in active)

        wait_until_ended(f"The running job {job}", ended)

    return cancel


def _run(workspace: Workspace, made: dict[str, Any], token: str) -> Callable[[], str]:
    def run() -> str:
        asked = {"job_id": made["id"], "idempotency_token": token}
        return str(workspace.post("/api/2.2/jobs/run-now", asked)["run_id"])

    return run
