"""The API in a process beside this one, watched, and started again when it ends.

The process is in a session of its own: a Ctrl-C at the terminal, or a signal to the
process group, reaches this process alone, which ends the API in good order. It also
ends when this process does, however that comes about.
"""

import contextlib
import json
import logging
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from ops.embedded.child import die_with_parent
from ops.errors import OperationError
from ops.logs import configure_logging, current_logging
from ops.ports import claimed_port
from ops.serve import KILL_SECONDS, LogForm, serve_api
from ops.settings import Settings, load_settings

START_SECONDS = 60.0
STOP_SECONDS = KILL_SECONDS + 5.0
SHORT_SECONDS = 60.0  # an API that lived no longer has not worked
SHORT_LIVES = 3  # after so many in a row it is not started again
PAUSE_SECONDS = 1.0

log = logging.getLogger(__name__)
# Whatever proxy the environment names, our own server is asked directly.
_open = build_opener(ProxyHandler({})).open


@contextmanager
def start_api(
    settings: Settings, url: str, given_up: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """The API beside this process for the length of the block; raises OperationError.

    When it ends by itself it is started again. `given_up` is called, in another thread,
    once that is of no use; leaving the block raises OperationError then.
    """
    with claimed_port(settings.api.host, settings.api.port):
        api = _Api(settings, url, given_up)
        try:
            api.begin()
            yield
        finally:
            api.end()
        if api.failed:
            raise OperationError(api.failed)


class _Api:
    """The process, and the thread that starts it and waits for its end."""

    def __init__(
        self, settings: Settings, url: str, given_up: Callable[[], None]
    ) -> None:
        self.settings, self.url, self.given_up = settings, url, given_up
        self.instance = secrets.token_hex(8)
        self.process: BaseProcess | None = None
        self.failed = ""
        self.ending = threading.Event()
        self.spawned = threading.Event()
        # The parent-death signal fires when the thread that spawned ends: it waits.
        self.thread = threading.Thread(target=self.keep, name="api", daemon=True)

    def begin(self) -> None:
        """Start it, and return when it answers."""
        self.thread.start()
        self.spawned.wait()
        deadline = time.monotonic() + START_SECONDS
        while self.thread.is_alive() and time.monotonic() < deadline:
            if self.answers():
                return
            if self.process is not None and not self.process.is_alive():
                break
            time.sleep(0.05)
        raise OperationError(
            f"the API did not start on {self.where}; its own message is above"
        )

    @property
    def where(self) -> str:
        """Host and port."""
        return f"{self.settings.api.host}:{self.settings.api.port}"

    def answers(self) -> bool:
        """Whether a server answers there; raises OperationError if it is not ours."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104 - compared
            self.settings.api.host, self.settings.api.host
        )
        try:
            with _open(
                f"http://{host}:{self.settings.api.port}/health/live", timeout=2
            ) as answer:
                answer_body = json.loads(answer.read(1000))
        except (URLError, OSError, ValueError):
            return False
        if (
            not isinstance(answer_body, dict)
            or answer_body.get("instance") != self.instance
        ):
            raise OperationError(
                f"another server answers on {self.where}: set [api] port"
            )
        return True

    def keep(self) -> None:
        """Spawn it and wait for its end, again and again."""
        context = multiprocessing.get_context("spawn")
        path = None if self.settings.path is None else str(self.settings.path)
        short = 0
        while not self.ending.is_set():
            begun = time.monotonic()
            self.process = context.Process(
                target=_serve_apart,
                args=(path, self.url, self.instance, os.getpid(), current_logging()),
            )
            self.process.start()
            self.spawned.set()
            if self.ending.is_set():  # since it was looked at
                self.process.terminate()
            self.process.join()
            if self.ending.is_set():
                return
            short = short + 1 if time.monotonic() - begun < SHORT_SECONDS else 1
            code = self.process.exitcode
            if short >= SHORT_LIVES:
                self.failed = (
                    f"the API on {self.where} has ended {short} times in a row (exit "
                    f"code {code}) and is not started again; its own messages are above"
                )
                log.error("api_start_failed exit=%s lives=%d", code, short)
                self.given_up()
                return
            log.error("api_ended exit=%s: it is started again", code)
            self.ending.wait(PAUSE_SECONDS)

    def end(self) -> None:
        """Stop the server; kill it after a while."""
        self.ending.set()
        process = self.process
        if process is None or process.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        self.thread.join(STOP_SECONDS)
        if self.thread.is_alive():
            process.kill()  # its workers die with it
            self.thread.join()


def _serve_apart(
    path: str | None, url: str, instance: str, owner: int, form: LogForm
) -> None:
    """Run the server in a session of its own that ends with its owner."""
    os.setsid()
    configure_logging(form[0], level=form[1])
    die_with_parent(owner, signal.SIGTERM)
    serve_api(load_settings(path), url, instance=instance)
