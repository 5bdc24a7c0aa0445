"""Worker processes: forks of one that has imported everything, and opened nothing."""

import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from db.engine import Refused
from db.position import BlockRange
from indexer.errors import Permanent

log = logging.getLogger(__name__)

SPARE = 2  # workers that may die and be replaced

# Takes chunks and tells what it does, until its process is ended.
Work = Callable[[Any, Any, int], None]


class WorkerPool:
    """The worker processes of one backfill; one that dies is replaced, twice.

    All are forked when the pool is made, which must be before this process has threads
    or connections; those to come in the place of others wait for their turn.
    """

    def __init__(self, work: Work, workers: int) -> None:
        context = multiprocessing.get_context("fork")
        self._todo: Any = context.Queue()
        self._messages: Any = context.Queue()
        self._turns = context.Semaphore(0)
        self._workers = workers
        self._running: list[BaseProcess] = [
            context.Process(
                target=_worker,
                args=(work, self._turns, self._todo, self._messages),
                daemon=True,
            )
            for _ in range(workers + SPARE)
        ]
        self._held: dict[int, BlockRange] = {}
        self._left = 0
        self._spare = SPARE
        self._ending = threading.Event()
        for process in self._running:
            process.start()

    def open(self) -> None:
        """Let the workers begin; what they need is there."""
        for _ in range(self._workers):
            self._turns.release()

    def run(
        self,
        chunks: list[BlockRange],
        add: Callable[[int, int], None],
        release: Callable[[], int],
    ) -> None:
        """Have every chunk worked on; returns when all are done."""
        self._left = len(chunks)
        for chunk in chunks:
            self._todo.put(chunk)
        while self._left and not self._ending.is_set():
            self._handle(add, *_next_message(self._messages))
            for process in [p for p in self._running if p.exitcode is not None]:
                self._replace(process, release)

    def close(self) -> None:
        """End all processes, and `run`."""
        self._ending.set()
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join(10)

    def _handle(
        self, add: Callable[[int, int], None], kind: str, pid: int, value: Any
    ) -> None:
        if kind == "took":
            self._held[pid] = value
        elif kind == "wrote":
            add(*value)
        elif kind == "done":
            self._held.pop(pid, None)
            self._left -= 1
        elif kind == "failed":
            raise Permanent(value)

    def _replace(self, process: BaseProcess, release: Callable[[], int]) -> None:
        """Give the chunk of a dead process to one that waits."""
        self._running.remove(process)
        if self._spare == 0:
            raise Permanent(
                f"workers keep dying (exit code {process.exitcode}). What was written "
                "stays; look at the log, then run the backfill again."
            )
        self._spare -= 1
        log.warning("worker_died pid=%s exit=%s", process.pid, process.exitcode)
        with suppress(Refused):  # whoever takes the range frees it then
            release()
        if process.pid in self._held:
            self._todo.put(self._held.pop(process.pid))
        self._turns.release()


def _next_message(messages: Any) -> tuple[str, int, Any]:
    try:
        message: tuple[str, int, Any] = messages.get(timeout=0.5)
    except queue.Empty:
        return "", 0, None
    return message


def _worker(work: Work, turns: Any, todo: Any, messages: Any) -> None:
    """One worker process: waits for its turn, and works until it is ended."""
    # What the parent does at a signal is not ours to do; Ctrl-C is for the parent.
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _end_with_parent()
    turns.acquire()
    pid = os.getpid()
    try:
        work(todo, messages, pid)
    except Exception as error:  # the outer loop of a process: tell the parent
        messages.put(("failed", pid, str(error)))
        messages.close()
        messages.join_thread()


def _end_with_parent() -> None:
    """End this process at once when its parent has ended, however that came about."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
