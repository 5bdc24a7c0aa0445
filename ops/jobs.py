"""Backfilling with RQ: ranges as jobs, on workers of any number of machines.

A job carries names and numbers only; each worker reads its own settings. The database
says what is missing, so a job that is lost, or runs twice, does no harm.

    rq worker --url redis://… -S rq.serializers.JSONSerializer chainfold-backfill

A range is done when its blocks are written, whatever became of its job. A job is in
hand while it waits in the queue or its worker lives; RQ itself notices a dead worker
only after many minutes, but its subscription in Redis ends with the process, and that
is seen at once. Jobs that are in nobody's hand are given out again.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from redis import Redis, RedisError
from rq import Queue, Worker
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import Engine

from db.leases import release_leases_of_the_dead
from db.position import BlockRange
from db.registry import Registry
from indexer.backfill import (
    Progress,
    backfill_window,
    missing_ranges,
    run_range,
    split,
)
from indexer.chain import Chain
from indexer.collector import settle_collector
from indexer.planning import know_children
from ops.errors import OperationError
from ops.indexing import open_chain, reopen_chain
from ops.services import database
from ops.settings import Settings, load_settings

QUEUE = "chainfold-backfill"
JOB_SECONDS = 3600
FAILURE_SECONDS = 86_400  # how long Redis remembers why a job failed
WORKERS = 4  # among whom the jobs are shared out well, whoever listens
MOST_RANGES = 10  # in a job
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 5.0  # with a job in nobody's hand
ALONE_SECONDS = 10.0  # with no worker at all: one may be starting anew
TRIES = 3  # of a range, while nothing more of it is written
# Ends of a job that say nothing about its range: another worker may do it.
INTERRUPTIONS = (
    "AbandonedJobError", "JobTimeoutException", "LeaseLost", "Work-horse terminated",
)  # fmt: skip

log = logging.getLogger(__name__)


class NobodyWorks(OperationError):
    """No RQ worker listens to our queue, or none any more."""


def backfill_range(path: str | None, name: str, first: int, last: int) -> int:
    """Run one job: write what is missing in a range; returns the facts written."""
    settle_collector()
    settings = load_settings(path)
    with database(settings) as url:
        opener = partial(reopen_chain, path, url, name)
        return asyncio.run(run_range(opener, BlockRange(first, last)))


def has_workers(url: str) -> bool:
    """Whether any RQ worker listens to our queue; no when Redis does not answer."""
    try:
        with Redis.from_url(url) as connection:
            return bool(_listening(_queue(connection)))
    except RedisError as error:
        log.warning("redis_unreachable cause=%s", type(error).__name__)
        return False


async def backfill_by_jobs(
    settings: Settings,
    name: str,
    engine: Engine,
    registry: Registry,
    *,
    url: str,
    first: int,
    last: int | None,
    report: Callable[[Progress], None],
) -> Progress:
    """Enqueue the missing ranges and wait until all of them are written.

    Raises OperationError when a job fails, naming its error, and NobodyWorks when no
    worker is left; jobs that no worker has begun are withdrawn then.
    """
    started = time.monotonic()
    async with open_chain(settings, name, engine, registry) as chain:
        window = await backfill_window(chain, first, last)
        gaps = missing_ranges(chain, window)
        total = _blocks(gaps)
        if gaps:
            await know_children(chain, gaps[-1].last, chain.streams)
        path = None if settings.path is None else str(settings.path)
        with _queue_at(url) as queue:
            jobs = _BackfillJobs(chain, queue, path)
            try:
                most = chain.range_blocks * MOST_RANGES
                for blocks in split(gaps, WORKERS, most):
                    jobs.begin(blocks)
                while jobs.pieces:
                    await asyncio.sleep(POLL_SECONDS)
                    jobs.look()
                    done = total - _blocks(missing_ranges(chain, window))
                    seconds = time.monotonic() - started
                    report(Progress(window, total, done, jobs.facts, seconds))
            finally:
                jobs.withdraw()
    return Progress(window, total, total, jobs.facts, time.monotonic() - started)


@dataclass(slots=True)
class _Piece:
    """A range, the job that is to write it, and how it has gone so far."""

    blocks: BlockRange
    job: str
    missing: int
    tries: int = 1
    loose_since: float | None = None  # when it was first seen in nobody's hand


class _BackfillJobs:
    """The jobs of one backfill."""

    def __init__(self, chain: Chain, queue: Queue, path: str | None) -> None:
        self.chain, self.queue, self.path = chain, queue, path
        self.pieces: list[_Piece] = []
        self.facts = 0
        self.alone_since: float | None = None

    def begin(self, blocks: BlockRange) -> None:
        """Give out a range for the first time."""
        self.pieces.append(_Piece(blocks, self.enqueue(blocks), blocks.blocks))

    def enqueue(self, blocks: BlockRange) -> str:
        """Put a job for a range into the queue; returns its id."""
        job = self.queue.enqueue(
            backfill_range,
            self.path, self.chain.name, blocks.first, blocks.last,
            job_timeout=JOB_SECONDS, failure_ttl=FAILURE_SECONDS,
        )  # fmt: skip
        return job.id

    def look(self) -> None:
        """Poll every job, and enqueue lost ranges again."""
        now = time.monotonic()
        working = _listening(self.queue)
        waiting = set(self.queue.get_job_ids())
        jobs = self.fetch()
        for piece, job in zip(list(self.pieces), jobs, strict=True):
            if job is not None and job.is_finished:
                self.facts += int(job.return_value() or 0)
                self.end(piece, "its job ended before all of it was written")
            elif job is not None and (job.is_failed or job.is_stopped):
                self.end(piece, self.interruption(job))
            elif piece.job in waiting or (job and job.worker_name in working):
                piece.loose_since = None
            elif now - (piece.loose_since or now) > PATIENCE_SECONDS:
                self.end(piece, "its worker died")
            else:
                piece.loose_since = piece.loose_since or now
        self.alone_since = None if working else self.alone_since or now
        if self.pieces and now - (self.alone_since or now) > ALONE_SECONDS:
            raise NobodyWorks(
                f"no RQ worker listens to {QUEUE}. What was written stays. Start "
                f"`rq worker -S rq.serializers.JSONSerializer {QUEUE}` with the Redis "
                "of the settings and run the backfill again, or say --no-rq."
            )

    def fetch(self) -> list[Job | None]:
        """The job of each piece, None when Redis has forgotten it."""
        ids = [piece.job for piece in self.pieces]
        return Job.fetch_many(ids, self.queue.connection, JSONSerializer)

    def interruption(self, job: Job) -> str:
        """Return why a job ended early; raises OperationError when it would again."""
        result = job.latest_result()
        text = "" if result is None else str(result.exc_string or "").strip()
        cause = text.splitlines()[-1] if text else "it was stopped"
        if not any(word in cause for word in INTERRUPTIONS):
            raise OperationError(
                f"job {job.id} failed: {cause}. "
                "What was written stays; run the backfill again for the rest."
            )
        return cause

    def end(self, piece: _Piece, cause: str) -> None:
        """Take a piece off the list when it is written, else give it out again."""
        left = _blocks(missing_ranges(self.chain, piece.blocks))
        if not left:
            self.pieces.remove(piece)
            return
        piece.tries = piece.tries + 1 if left == piece.missing else 1
        if piece.tries > TRIES:
            raise OperationError(
                f"blocks {piece.blocks} were given out {TRIES} times and not written: "
                f"{cause}. Look at the workers' logs and settings, then run the "
                "backfill again for the rest."
            )
        log.warning("job_repeated blocks=%s cause=%s", piece.blocks, cause)
        # Of other hosts' dead workers the leases run out by themselves.
        release_leases_of_the_dead(self.chain.engine, self.chain.id)
        piece.missing, piece.loose_since = left, None
        piece.job = self.enqueue(piece.blocks)

    def withdraw(self) -> None:
        """Take back the jobs that no worker has taken; the others are its own.

        Leaving the queue decides it: a worker may take a job at any moment.
        """
        with suppress(RedisError):
            for job in self.fetch():
                if job is not None and self.queue.remove(job):
                    job.delete(remove_from_queue=False)


def _blocks(ranges: list[BlockRange]) -> int:
    return sum(each.blocks for each in ranges)


def _listening(queue: Queue) -> set[str]:
    """The workers of a queue that live: those whose subscription is open."""
    prefix = Worker.redis_worker_namespace_prefix
    names = [key.removeprefix(prefix) for key in Worker.all_keys(queue=queue)]
    channels = [PUBSUB_CHANNEL_TEMPLATE % name for name in names]
    if not channels:
        return set()
    counts = queue.connection.pubsub_numsub(*channels)
    return {
        name for name, (_, count) in zip(names, counts, strict=True) if int(count) > 0
    }


@contextmanager
def _queue_at(url: str) -> Iterator[Queue]:
    """Our queue; trouble with Redis is an OperationError."""
    try:
        with Redis.from_url(url) as connection:
            yield _queue(connection)
    except RedisError as error:
        raise OperationError(
            f"Redis cannot be used ({type(error).__name__}): check [redis] url. What "
            "was written stays; run the backfill again, or say --no-rq."
        ) from error


def _queue(connection: "Redis[bytes]") -> Queue:
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)
