"""Run by Airflow's own Python: imports the DAG folder as Airflow does, and prints as JSON what it found there.

With a date behind the folder it also runs the DAG for that day, task after task.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any


def shown(dag: Any) -> dict[str, Any]:
    """The structure of a DAG."""
    tasks = {}
    for task in dag.topological_sort():
        tasks[task.task_id] = {
            "upstream": sorted(task.upstream_task_ids),
            "retries": task.retries,
            "trigger_rule": str(getattr(task.trigger_rule, "value", task.trigger_rule)),
            "command": task.bash_command,
        }
    return {
        "tasks": tasks,
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "schedule": dag.timetable.expression,
        "deadlines": len(dag.deadline or []),
    }


def ran(dag: Any, day: str) -> dict[str, str]:
    """The state of each task after a run for that day."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    # Airflow looks for a deadline by the id of its row; `test` gives it the alert itself, and the run's end fails.
    dag.deadline = None
    after = start + timedelta(days=1)  # of a run that is not scheduled the interval is the one before its date
    run = dag.test(logical_date=after, run_after=after)
    return {one.task_id: str(getattr(one.state, "value", one.state)) for one in run.get_task_instances()}


if __name__ == "__main__":
    from airflow.dag_processing.dagbag import DagBag

    folder, *days = sys.argv[1:]
    sys.path.insert(0, folder)
    bag = DagBag(folder)
    found: dict[str, Any] = {"errors": bag.import_errors, "dags": {name: shown(dag) for name, dag in bag.dags.items()}}
    if days:
        found["states"] = ran(bag.dags["reco_daily"], days[0])
    print("\n" + json.dumps(found, default=str))
