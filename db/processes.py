"""The process that holds a lease, so that another on its host can see its death.

A process is known by its pid, by when it started (pids are used again), and by the boot
and the pid namespace that both belong to: containers number their processes anew, and
may have the same host name.
"""

import os
import socket
from functools import cache
from pathlib import Path


def owner_name() -> str:
    """Return the host and process as a readable text."""
    return f"{socket.gethostname()}:{os.getpid()}"


def process_name() -> str:
    """The name of the running process, as `is_dead` takes it."""
    return f"{_host()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(process: str) -> bool:
    """Whether a process of this host has certainly ended; no for those of others."""
    host, _, rest = process.partition(_host() + "/")
    pid, _, started = rest.partition("/")
    if host or not pid.isdigit():
        return False
    return _started(int(pid)) != started


_PROC = Path("/proc/self/stat")


@cache
def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none.

    Where no /proc tells, only that there is one.
    """
    if not _PROC.exists():
        return "?" if _exists(pid) else ""
    try:
        # The name in parentheses may hold anything; field 22 is counted from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie holds nothing any more.
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
