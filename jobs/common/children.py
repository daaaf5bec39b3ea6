"""Child processes that never outlive their parent."""

import os
import sys
from collections.abc import Sequence

# Asks the kernel (prctl 1: PR_SET_PDEATHSIG) for SIGTERM when the parent dies, then becomes the command. A process of
# its own: what runs between fork and exec of a process with threads may hang on a lock that one of them held.
_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)  # it died in between
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""
#: Elsewhere the kernel cannot do it.
KERNEL_BINDS = sys.platform.startswith("linux")


def bound(command: Sequence[str]) -> list[str]:
    """The command as one that gets SIGTERM when this process dies, also by kill -9; as it is where KERNEL_BINDS is not.

    The thread that starts it must live as long as it runs: to the kernel that thread is the parent.
    """
    if not KERNEL_BINDS:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
