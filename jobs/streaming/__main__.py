"""What spark-submit.sh submits: the command `reco stream` as a program, with the same errors and exit codes."""

import sys

from jobs.common.command import run_function
from jobs.streaming.main import command

if __name__ == "__main__":
    sys.exit(run_function(command, sys.argv[1:], "streaming"))
