"""The day's close as an Airflow DAG: wait until the day is over, close, close what went stale, check, export, tell.

Put this file and reco_deadline.py into the DAG folder. The workers need the checkout with its .venv (RECO_HOME); all
else is told by environment variables of the workers, listed in docs/deploy.md. For Airflow 3.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.bash import BashSensor
from airflow.sdk import DAG, AsyncCallback, CronDataIntervalTimetable, DeadlineAlert, DeadlineReference

#: What `python -m jobs.deploy.day` answers for "not yet" and "no".
NO = 99
#: The day that a run is for; its data interval is that UTC day.
DAY = "{{ data_interval_start.strftime('%Y-%m-%d') }}"
#: How long after it was queued a run must have told its digest.
DEADLINE = timedelta(hours=float(os.environ.get("RECO_AIRFLOW_DEADLINE_HOURS", "18")))

_ENTER = 'set -euo pipefail; cd "${RECO_HOME:?RECO_HOME must name the checkout}"; PATH="$PWD/.venv/bin:$PATH"; '
_SETTINGS = '--settings "${RECO_AIRFLOW_SETTINGS:-conf/local.yaml}"'
_SUBMIT = f'eval "${{RECO_AIRFLOW_SUBMIT:-./spark-submit.sh}}" daily {_SETTINGS}'
_ASK = "python -m jobs.deploy.day"
_UNLESS_CLOSED = (
    f"if {_ASK} closed {DAY} {_SETTINGS}; then exit {NO}; else code=$?; [ $code = {NO} ] || exit $code; fi; "
)


def step(task_id: str, command: str, *, hours: float = 4, **more: object) -> BashOperator:
    """A task that runs a command in the checkout; exit code 99 skips it."""
    return BashOperator(
        task_id=task_id,
        bash_command=_ENTER + command,
        append_env=True,
        skip_on_exit_code=NO,
        execution_timeout=timedelta(hours=hours),
        **more,
    )


with DAG(
    dag_id="reco_daily",
    description="Closes each UTC day once it is over.",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # one writing application a table, also in a backfill
    default_args={
        "owner": "reco",
        "retries": 3,
        "retry_delay": timedelta(minutes=2),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
    },
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=DEADLINE,
        callback=AsyncCallback("reco_deadline.missed", kwargs={"hours": DEADLINE.total_seconds() / 3600}),
    ),
    tags=["reco"],
) as dag:
    day_is_over = BashSensor(
        task_id="day_is_over",
        bash_command=f"{_ENTER}{_ASK} over {DAY} {_SETTINGS}",
        retry_exit_code=NO,
        mode="reschedule",
        poke_interval=300,
        timeout=timedelta(hours=24).total_seconds(),
    )
    # A day that is closed is not closed again by a backfill or by clearing the run: late events are the next task's.
    close = step("close", _UNLESS_CLOSED + f"{_SUBMIT} --date {DAY}")
    # Looks at all closed dates at once, so once a day is enough; a backfill over a range would do it for each date.
    close_stale = step(
        "close_stale",
        "{% if dag_run.run_type == 'backfill' %}exit 99{% else %}" + f"{_SUBMIT} --stale" + "{% endif %}",
        trigger_rule="none_failed",
    )
    expectations = step("expectations", f"{_ASK} check {DAY} {_SETTINGS}", hours=1, trigger_rule="none_failed")
    export = step(
        "export",
        f'[ -n "${{RECO_AIRFLOW_EXPORT:-}}" ] || exit {NO}; export RECO_AIRFLOW_DAY={DAY}; eval "$RECO_AIRFLOW_EXPORT"',
        trigger_rule="none_failed",
    )
    digest = step("digest", f"{_ASK} digest {DAY} {_SETTINGS}", hours=1, trigger_rule="none_failed")

    day_is_over >> close >> close_stale >> expectations >> export >> digest
