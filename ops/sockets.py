"""Options of the sockets that a server of another's making listens at."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")
LOOK_SECONDS = 0.05


def drop_stuck_readers(
    loop: asyncio.AbstractEventLoop, port: int, seconds: float
) -> None:
    """Have the kernel end connections whose client reads nothing for so long.

    It is set on the socket by which this process listens at a port, as soon as there
    is one; what is accepted there has it too (tcp(7), TCP_USER_TIMEOUT). Linux alone
    can do it.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is None or not DESCRIPTORS.is_dir():
        return
    listeners = list(_listeners(port))
    for listener in listeners:
        with listener:
            listener.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
    if not listeners:
        loop.call_later(LOOK_SECONDS, drop_stuck_readers, loop, port, seconds)


def _listeners(port: int) -> Iterator[socket.socket]:
    """Copies of the sockets by which this process listens at a port."""
    for path in DESCRIPTORS.iterdir():
        try:
            found = socket.socket(fileno=os.dup(int(path.name)))
        except OSError:  # it is something else, or closed by now
            continue
        if (
            found.family in (socket.AF_INET, socket.AF_INET6)
            and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and found.getsockname()[1] == port
        ):
            yield found
        else:
            found.close()
