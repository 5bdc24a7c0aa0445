"""Wake workers through RQ where LISTEN cannot.

Behind a pooler that shares connections between transactions, LISTEN hears nothing. With
`[redis] url`, whoever accepts a command also enqueues a job here, and
`chainfold work --queue` runs it. A job carries the command's id and nothing else, and
all it does is wake the process that it runs in. It may be lost, doubled or late:
workers also poll every second
(`ops.commanding`, `ops/decisions/0008-waking-workers.md`).
"""

import logging
import threading
import time
import uuid
from dataclasses import dataclass, field

from redis import Redis, RedisError
from rq import Queue, Retry, SimpleWorker
from rq.exceptions import DuplicateJobError
from rq.serializers import JSONSerializer

QUEUE = "chainfold-commands"
WORKER_SECONDS = 20  # how soon a dead worker is noticed
MONITOR_SECONDS = 5
MAINTENANCE_SECONDS = 10
FAILURE_SECONDS = 60
REDIS_SECONDS = 1.0  # whoever takes a command does not wait longer than this for it
AGAIN_SECONDS = 1.0
QUIET_SECONDS = 30.0  # after Redis did not answer, nobody is made to wait for it

log = logging.getLogger(__name__)

# What a job in this process wakes.
wake_events: set[threading.Event] = set()


def wake(command: str) -> None:
    """The job: wake everything in this process that works on commands."""
    log.debug("woken command=%s", command)
    for woken in tuple(wake_events):
        woken.set()


@dataclass(slots=True)
class RqNotifier:
    """Enqueues a wake-up for each accepted command; never fails, never waits long."""

    url: str = field(repr=False)
    _queue: Queue | None = None
    _quiet_until: float = 0.0

    def __call__(self, command: uuid.UUID) -> None:
        """Enqueue a wake-up for a command."""
        if time.monotonic() < self._quiet_until:
            return
        try:
            self._queue = self._queue or _queue(self.url)
            self._queue.enqueue_call(
                wake,
                (str(command),),
                job_id=f"cmd-{command}",
                unique=True,
                result_ttl=0,
                failure_ttl=FAILURE_SECONDS,
                retry=Retry(max=1),
            )
        except DuplicateJobError:
            return
        except RedisError as error:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            log.warning("wake_up_not_enqueued cause=%s", type(error).__name__)


def run_worker(url: str, stop: threading.Event) -> None:
    """Run the jobs that wake this process until stopped; Redis may restart.

    RQ takes the signals of the process: it must be the main thread's, and a signal that
    ends it sets `stop`.
    """
    while not stop.is_set():
        try:
            queue = _queue(url, patient=True)
            worker = SimpleWorker(
                [queue],
                connection=queue.connection,
                serializer=JSONSerializer,
                worker_ttl=WORKER_SECONDS,
                job_monitoring_interval=MONITOR_SECONDS,
                maintenance_interval=MAINTENANCE_SECONDS,
            )
            worker.work(logging_level="WARNING")
        except RedisError as error:
            log.warning("rq_worker_retried cause=%s", type(error).__name__)
            stop.wait(AGAIN_SECONDS)
        else:
            stop.set()


def _queue(url: str, *, patient: bool = False) -> Queue:
    seconds = None if patient else REDIS_SECONDS
    connection = Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=REDIS_SECONDS
    )
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)
