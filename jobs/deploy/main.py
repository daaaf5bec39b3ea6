"""`reco deploy`: the code and its settings to a platform, and a job started there."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.common import log
from jobs.common.errors import UserError
from jobs.common.options import AsJson, Debug
from jobs.common.output import print_json
from jobs.deploy import requests
from jobs.deploy.artifacts import Bundle, bundle
from jobs.deploy.config import Deploy, Job, Target, read_deploy
from jobs.deploy.plan import Change, apply, show
from jobs.deploy.requests import Order


def command(
    target: Annotated[Target, typer.Argument(help="The platform.")],
    job: Annotated[Job, typer.Argument(help="The job to start there.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- JOB_OPTIONS", help="The job's own options, after --.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would change; change nothing.")] = False,
    request: Annotated[
        bool, typer.Option("--request", help="Print the request that starts the job; ask no platform for anything.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Start a job that has already succeeded as it is.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--spark", metavar="WORD", help="An option of spark-submit, word by word.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Deployment file; conf/deploy.yaml.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", metavar="FILE", help="Settings file of the job; else the target's.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Upload what is not there yet, and start the job where it does not run as it should.

    Example: reco deploy emr-serverless daily --plan -- --date 2026-03-09
    """
    log.configure(debug=debug)
    deploy = read_deploy(to)
    order = Order(job, _of_the_job(job, arguments or []), option or [])
    files = bundle(deploy, target, job, settings)
    body = built(deploy, target, order, files)
    if request:
        print_json(body)
        return
    changes, kept = wanted(deploy, target, order, files, body, again=again)
    show(changes, kept, done=None if plan else apply(changes), as_json=as_json)


def base(deploy: Deploy, target: Target) -> str:
    """Where the files of a target lie, without a slash at the end."""
    if target is Target.DATABRICKS:
        return deploy.databricks.folder
    return f"s3://{deploy.needed('bucket')}/{deploy.prefix}"


def built(deploy: Deploy, target: Target, order: Order, files: Bundle) -> dict[str, Any]:
    """The request that starts the job on the target."""
    build = {
        Target.EMR: requests.emr_step,
        Target.EMR_SERVERLESS: requests.serverless_run,
        Target.DATABRICKS: requests.databricks_job,
    }[target]
    return build(deploy, order, files, base(deploy, target))


def wanted(
    deploy: Deploy, target: Target, order: Order, files: Bundle, body: dict[str, Any], *, again: bool
) -> tuple[list[Change], list[str]]:
    """Every change, files first, and what stays as it is."""
    if target is Target.DATABRICKS:
        from jobs.deploy import databricks

        return databricks.changes(deploy, order.job, body, files, again=again)
    from jobs.deploy import aws, emr, emr_serverless

    uploads, there = aws.uploads(deploy.needed("bucket"), deploy.prefix, list(files))
    platform = emr if target is Target.EMR else emr_serverless
    started, kept = platform.changes(deploy, order.job, body, again=again)
    return [*uploads, *started], [*there, *kept]


def _of_the_job(job: Job, arguments: list[str]) -> list[str]:
    """The job's options. UserError where a daily job is not told which days, which a cluster would say much later."""
    days = ("--date", "--stale")
    if job is Job.DAILY and not any(word.partition("=")[0] in days for word in arguments):
        raise UserError("Say after -- which days to close: -- --date YYYY-MM-DD, or -- --stale.")
    for place, word in enumerate(arguments if job is Job.DAILY else []):
        name, is_joined, value = word.partition("=")
        if name == "--date":
            _require_day(value if is_joined else "".join(arguments[place + 1 : place + 2]))
    return arguments


def _require_day(text: str) -> None:
    if text == "yesterday":
        return
    try:
        date.fromisoformat(text)
    except ValueError:
        raise UserError(f"--date {text or '(nothing)'} is no date: write it as YYYY-MM-DD, like 2026-03-09.") from None
