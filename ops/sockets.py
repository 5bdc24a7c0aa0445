"""Options of the sockets that a server of another's making listens at."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
LOOK_SECONDS = 0.05


def drop_stuck_readers(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Have the kernel end connections whose client reads nothing for so long.

    It is set on the listening sockets of this process as soon as there are some; what
    is accepted there has it too (tcp(7), TCP_USER_TIMEOUT). Linux alone can do it.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None or not DESCRIPTORS.is_dir():
        return
    listeners = list(_listeners())
    for listener in listeners:
        with listener:
            listener.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
    if not listeners:
        loop.call_later(LOOK_SECONDS, drop_stuck_readers, loop, seconds)


def _listeners() -> Iterator[socket.socket]:
    """Copies of the listening TCP sockets of this process."""
    for path in DESCRIPTORS.iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:  # it is something else, or closed by now
            continue
        if found.family in (
            socket.AF_INET,
            socket.AF_INET6,
        ) and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            yield found
        else:
            found.close()
