"""TCP ports of this machine, for the servers that we start on it."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ops.errors import OperationError

HOST = "127.0.0.1"


class PortTaken(OperationError):
    """Another program has the port."""

    exit_code = 1


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, host: str = HOST) -> bool:
    """Tell whether a server could listen there now, alone.

    SO_REUSEPORT is not set, so a server that sets it counts as taking the port.
    """
    try:
        _bind_once(host, port)
    except OSError:
        return False
    return True


@contextmanager
def claimed_port(host: str, port: int) -> Iterator[None]:
    """Hold a port for the API of this process; raises PortTaken, or OperationError.

    Granian's servers listen with SO_REUSEPORT, so two of them would share a port and
    each answer half of the requests. On Linux the claim is an abstract Unix socket,
    which belongs to the network namespace as ports do, and ends with the process.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        if sys.platform == "linux":
            try:
                claim.bind(f"\0chainfold-api/{host}:{port}")
            except OSError:
                raise _taken(host, port, "another Chainfold") from None
        try:
            _bind_once(host, port)
        except socket.gaierror as error:
            raise OperationError(
                f"[api] host = {host!r} is no address of this machine: {error.strerror}"
            ) from None
        except PermissionError:
            raise OperationError(
                f"this user may not listen on port {port}: set [api] port to 1024 or "
                "above, and let a proxy listen below"
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise OperationError(
                    f"the API cannot listen on {host}:{port}: {error.strerror}. Set "
                    "[api] host and port"
                ) from None
            raise _taken(host, port, "another program") from None
        yield


def _taken(host: str, port: int, whose: str) -> PortTaken:
    return PortTaken(
        f"port {port} of {host} is taken by {whose}: end it, or set [api] port"
    )


def _bind_once(host: str, port: int) -> None:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family, kind, number, _, address in found[:1]:
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
