"""Names of hosts, looked up within a time that the system does not keep by itself."""

import socket
import threading
from concurrent.futures import Future

Addresses = list[tuple[str, int]]


class Lookup:
    """The addresses of a host, which the system may take any time to tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: Future[Addresses] | None = None

    def addresses(self, host: str, port: int, seconds: float) -> Addresses:
        """Return (address, port) pairs; raises TimeoutError, and OSError of none.

        All who ask wait for one question to the system, however long that takes.
        """
        with self._lock:
            if self._pending is None or self._pending.done():
                self._pending = Future()
                threading.Thread(
                    target=_look_up, args=(host, port, self._pending), daemon=True
                ).start()
            pending = self._pending
        return pending.result(seconds)


def _look_up(host: str, port: int, into: Future[Addresses]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        into.set_result([(str(each[4][0]), port) for each in found])
    except BaseException as error:
        into.set_exception(error)
