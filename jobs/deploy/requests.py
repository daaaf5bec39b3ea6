"""The request that starts a job, for each platform: pure functions, so that what is shown is what is sent."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from jobs.common.session import AVRO_LIMITS, STATIC_CONF
from jobs.deploy.artifacts import DIGITS, Bundle
from jobs.deploy.config import Deploy, Job

#: Exit codes after which starting again does not help: done, wrong settings, breaks found. A broker that is away is 1.
_FINAL = "0|2|3"
#: Seconds between a failure of the stream and its next start, on EMR.
_PAUSE = 30


@dataclass(frozen=True)
class Order:
    """What was asked for: the job, its own arguments, and options of spark-submit as words."""

    job: Job
    arguments: Sequence[str] = ()
    options: Sequence[str] = field(default_factory=tuple)


def emr_step(deploy: Deploy, order: Order, files: Bundle, base: str) -> dict[str, Any]:
    """A step for AddJobFlowSteps. `base` is where the files lie, like s3://bucket/reco/deploy.

    The driver runs in the step (client mode), so that the end of the step is the end of the writer; the stream is
    started again in it after a failure.
    """
    words = [
        "spark-submit",
        "--deploy-mode",
        "client",
        "--name",
        f"{deploy.name}-{order.job}",
        *_common(deploy, files, base),
    ]
    for key, value in _conf(deploy).items():
        words += ["--conf", f"{key}={value}"]
    words += [*order.options, f"{base}/{files.entry.name}", "--settings", files.settings, *order.arguments]
    packed = shlex.quote(f"{base}/{files.conf.name}")
    fetch = f"aws s3 cp --only-show-errors {packed} conf.zip && unzip -oq conf.zip -d conf"
    submit = shlex.join(words)
    if order.job is Job.STREAMING and "--available-now" not in order.arguments:
        submit = (
            "trap 'kill $child; wait $child; exit 143' TERM INT; while :; do "
            f"{submit} & child=$!; wait $child; code=$?; "
            f"case $code in {_FINAL}) exit $code ;; esac; sleep {_PAUSE}; done"
        )
    step = {"Jar": "command-runner.jar", "Args": ["bash", "-c", f"{fetch} && {{ {submit}; }}"]}
    return _named(deploy, order, {"ActionOnFailure": "CONTINUE", "HadoopJarStep": step}, "Name")


def serverless_run(deploy: Deploy, order: Order, files: Bundle, base: str) -> dict[str, Any]:
    """What StartJobRun takes beside the application's id; the stream in mode STREAMING with retries of its own."""
    conf = {"spark.archives": f"{base}/{files.conf.name}#conf", **_conf(deploy)}
    if deploy.emr_serverless.python_archive:
        conf["spark.archives"] += f",{deploy.emr_serverless.python_archive}#environment"
        python = "./environment/bin/python"
        conf |= {
            f"spark.emr-serverless.driverEnv.{name}": python for name in ("PYSPARK_DRIVER_PYTHON", "PYSPARK_PYTHON")
        }
        conf["spark.executorEnv.PYSPARK_PYTHON"] = python
    # As a classification and not as words: the interface does not say how it takes quotes in sparkSubmitParameters.
    conf |= spark_conf_of(order.options)
    words = [*_common(deploy, files, base), *_without_conf(order.options)]
    endless = order.job is Job.STREAMING and "--available-now" not in order.arguments
    retry: dict[str, int] = {"maxFailedAttemptsPerHour": 10} if endless else {"maxAttempts": 3}
    request = {
        "executionRoleArn": deploy.needed("emr_serverless.role_arn"),
        "mode": "STREAMING" if endless else "BATCH",
        "retryPolicy": retry,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": f"{base}/{files.entry.name}",
                "entryPointArguments": ["--settings", files.settings, *order.arguments],
                "sparkSubmitParameters": shlex.join(words),
            }
        },
        "configurationOverrides": {
            "applicationConfiguration": [{"classification": "spark-defaults", "properties": conf}]
        },
    }
    return _named(deploy, order, request, "name")


def databricks_job(deploy: Deploy, order: Order, files: Bundle, base: str) -> dict[str, Any]:
    """The settings of a job, as Jobs API 2.2 takes them. `base` is a folder of the workspace."""
    there = deploy.databricks
    task: dict[str, Any] = {
        "task_key": order.job.value,
        "job_cluster_key": "main",
        "spark_python_task": {
            "python_file": f"{base}/{files.entry.name}",
            "parameters": [
                "--settings",
                f"{base}/{files.conf.name.removesuffix('.zip')}/{files.settings}",
                *order.arguments,
            ],
        },
        "libraries": [{"whl": f"{base}/{wheel(files)}"}, *({"jar": jar} for jar in deploy.jars)],
    }
    job: dict[str, Any] = {"max_concurrent_runs": 1, "email_notifications": {"on_failure": list(there.notify)}}
    if order.job is Job.STREAMING and "--available-now" not in order.arguments:
        job["continuous"] = {"pause_status": "UNPAUSED"}
    else:
        task |= {"max_retries": 3, "min_retry_interval_millis": 60_000, "retry_on_timeout": False}
    cluster = {
        "spark_version": there.spark_version,
        "node_type_id": there.node_type,
        "num_workers": there.workers,
        "spark_conf": {
            **dict(deploy.spark_conf),
            **_executor_options(deploy.spark_conf),
            **spark_conf_of(order.options),
        },
    }
    job |= {"tasks": [task], "job_clusters": [{"job_cluster_key": "main", "new_cluster": cluster}]}
    named = _named(deploy, order, job, "name")
    # A job is changed in place, so its name stays; what it was made of is a tag.
    named["tags"] = {"reco_digest": named["name"].rpartition("-")[2]}
    named["name"] = f"{deploy.name}-{order.job}"
    return named


def wheel(files: Bundle) -> str:
    """Where the wheel lies beside the others: pip reads the version from its name, so the folder bears the digest."""
    return f"{files.code.name.removesuffix('.zip')}/reco-0.1.0-py3-none-any.whl"


def spark_conf_of(options: Sequence[str]) -> dict[str, str]:
    """The `--conf key=value` among options of spark-submit."""
    pairs = [after for word, after in pairwise(options) if word in ("--conf", "-c")]
    pairs += [word.partition("=")[2] for word in options if word.startswith("--conf=")]
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def _without_conf(options: Sequence[str]) -> list[str]:
    kept: list[str] = []
    words = iter(options)
    for word in words:
        if word in ("--conf", "-c"):
            next(words, None)
        elif not word.startswith("--conf="):
            kept.append(word)
    return kept


def _common(deploy: Deploy, files: Bundle, base: str) -> list[str]:
    words = ["--py-files", f"{base}/{files.code.name}"]
    if deploy.packages:
        words += ["--packages", ",".join(deploy.packages)]
    if deploy.jars:
        words += ["--jars", ",".join(deploy.jars)]
    return words


_NEEDED = ("spark.sql.extensions", "spark.sql.catalog.spark_catalog", "spark.redaction.regex")


def _conf(deploy: Deploy) -> dict[str, str]:
    needed = {key: STATIC_CONF[key] for key in _NEEDED}
    return {**needed, **deploy.spark_conf, **_executor_options(deploy.spark_conf)}


def _executor_options(conf: Mapping[str, str]) -> dict[str, str]:
    """The limits without which Avro payloads are not read, beside what the file says."""
    key = "spark.executor.extraJavaOptions"
    return {key: " ".join([*filter(None, [conf.get(key)]), *AVRO_LIMITS])}


def _named(deploy: Deploy, order: Order, request: dict[str, Any], key: str) -> dict[str, Any]:
    """The request under a name made of its content: the same content is never started twice."""
    text = json.dumps(request, sort_keys=True, default=str)
    found = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    return {key: f"{deploy.name}-{order.job}-{found}", **request}
