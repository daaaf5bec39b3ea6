"""`python -m jobs.cli.demo_worker FOLDER`: reco commands one after another in one process, on one Spark session.

Each line of standard input is a request: a JSON array of the answer's name and the command's words. What the command
prints goes to `FOLDER/NAME.out`; then `FOLDER/NAME.code` holds its exit code.
"""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from jobs.cli.main import COMMANDS
from jobs.common.command import add_function, load, new_app, run
from jobs.common.session import spark_session
from jobs.common.settings import load_settings


def main(folder: Path) -> None:
    """Answers requests until there are no more."""
    # The session takes seconds to start, in which the demo has something else to do.
    spark_session("reco-demo", load_settings(None))
    for line in sys.stdin:
        name, command, *arguments = json.loads(line)
        app = new_app()
        add_function(app, load(COMMANDS[command].target), command)
        with (folder / f"{name}.out").open("w", encoding="utf-8") as out, redirect_stdout(out):
            code = run(lambda app=app: app, arguments, f"reco {command}")  # type: ignore[misc]
        unfinished = folder / f"{name}.code.new"
        unfinished.write_text(str(code))
        unfinished.rename(folder / f"{name}.code")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
