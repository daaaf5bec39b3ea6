"""`python -m jobs.cli.demo_explain`: several `reco explain` in one process, for they share the start of Spark."""

import sys
import time
from collections.abc import Sequence

from jobs.cli.main import COMMANDS
from jobs.common.command import add_function, load, new_app, run

#: Stands between two explanations.
PAGE = "\f"


def main(arguments: Sequence[str]) -> int:
    """Runs `reco explain` with each group of arguments, groups apart by `--`; the first exit code that is not 0.

    The first argument is for how many seconds new ones are begun: the first always, the others while there is time.
    """
    until = time.monotonic() + float(arguments[0])
    groups: list[list[str]] = [[]]
    for argument in arguments[1:]:
        if argument == "--":
            groups.append([])
        else:
            groups[-1].append(argument)
    app = new_app()
    add_function(app, load(COMMANDS["explain"].target), "explain")
    for number, group in enumerate(groups):
        if number and time.monotonic() > until:
            break
        if number:
            print(PAGE)
        code = run(lambda: app, group, "reco explain")
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
