"""Execute another program, optionally as another user, that gets a signal when its parent dies.

Started by path with `python -I -S`: it may import only the standard library.
Arguments: the parent's pid, the signal to get when it dies, uid and gid (or "-" twice), then the command.

A separate program rather than `preexec_fn`, because that runs Python between fork and exec, which can deadlock if
the parent has threads. Changing the user clears the death signal, so the order of the steps below matters.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
CANNOT_RUN = 126


def main(parent: str, death_signal: str, uid: str, gid: str, *command: str) -> None:
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # also for programs that it executes
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):  # it died before the signal was requested
        sys.exit(CANNOT_RUN)
    os.execv(command[0], command)  # noqa: S606 - becoming the command is what this program is for # nosec B606


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.stderr.write(f"cannot run {sys.argv[5]}: {error.strerror or error}\n")
        sys.exit(CANNOT_RUN)
