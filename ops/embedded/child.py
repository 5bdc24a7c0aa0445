"""Start a server: switch to its user, have it end with us, and exec it.

Run as a script, by path, in a fresh interpreter::

    child.py HOW UID GID OWNER_PID SIGNAL COMMAND...

HOW is ``self`` (stay who we are), ``namespace`` (map our own user to UID inside a new
user namespace: files stay ours, yet the program sees itself unprivileged) or
``nobody`` (drop to UID for good). The order matters: changing credentials clears the
parent-death signal, so that is asked for last, and the parent is checked after it.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
EXIT_NOT_ALLOWED = 126
EXIT_ORPHAN = 125


def main(arguments: list[str]) -> None:
    """Replace this process by the command, or exit naming what was refused."""
    how, uid, gid, owner, number, *command = arguments
    try:
        if how == "namespace":
            enter_namespace(int(uid), int(gid))
        elif how == "nobody":
            os.setgroups([])
            os.setgid(int(gid))
            os.setuid(int(uid))
        die_with_parent(int(owner), signal.Signals(int(number)))
        os.execv(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]} as {how}: {error}\n")
        sys.exit(EXIT_NOT_ALLOWED)


def enter_namespace(uid: int, gid: int) -> None:
    """Appear as this user, while the kernel still takes us for who we were."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "user namespaces are not allowed here")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {outer_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {outer_gid} 1")


def die_with_parent(owner: int, number: signal.Signals) -> None:
    """Ask the kernel for a signal when the owner ends; exit if it already has."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot bind to the parent's life")
    if os.getppid() != owner:
        sys.exit(EXIT_ORPHAN)


if __name__ == "__main__":
    main(sys.argv[1:])
