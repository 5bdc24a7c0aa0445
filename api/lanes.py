"""Threads that run the app, in groups that do not wait for each other."""

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class TooLate(Exception):
    """Work waited longer than it may for a thread, and was not begun."""


class RequestLane:
    """Some threads and the work that waits for them, first come first served.

    `ThreadPoolExecutor` does the same with three locks for each piece of work, which
    costs a third of all answers that a small route gives.
    """

    def __init__(self, name: str, threads: int, queue_seconds: float) -> None:
        self._work: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._queue_seconds = queue_seconds
        for number in range(threads):
            thread = threading.Thread(
                target=self._loop, name=f"{name}-{number}", daemon=True
            )
            thread.start()

    def run(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Run a function in a thread and return its result; raises TooLate as well."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Any] = loop.create_future()
        self._work.put((loop, outcome, time.monotonic(), function, arguments))
        return outcome

    def _loop(self) -> None:
        while True:
            loop, outcome, asked, function, arguments = self._work.get()
            try:
                if time.monotonic() - asked > self._queue_seconds:
                    raise TooLate
                result, error = function(*arguments), None
            except BaseException as raised:
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, outcome, result, error)
            except RuntimeError:  # the loop has ended, and this process with it
                return


def _settle(
    outcome: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    if outcome.cancelled():
        return
    if error is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(error)
