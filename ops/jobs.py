"""Backfilling with RQ: ranges as jobs, on workers of any number of machines.

A job carries names and numbers only; each worker reads its own settings. The database
says what is missing, so a job that is lost, or runs twice, does no harm.

    rq worker --url redis://… -S rq.serializers.JSONSerializer chainfold-backfill
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import Engine

from db.position import BlockRange
from db.registry import Registry
from indexer.backfill import Progress, missing_ranges, run_range, split
from indexer.chain import Chain
from indexer.planning import know_children
from ops.errors import OperationError
from ops.indexing import open_chain, reopen_chain
from ops.services import database
from ops.settings import Settings, load_settings

QUEUE = "chainfold-backfill"
JOB_SECONDS = 3600
POLL_SECONDS = 0.5


def backfill_range(path: str | None, name: str, first: int, last: int) -> int:
    """Run one job: write what is missing in a range; returns the facts written."""
    settings = load_settings(path)
    with database(settings) as url:
        opener = partial(reopen_chain, path, url, name)
        return asyncio.run(run_range(opener, BlockRange(first, last)))


def has_workers(url: str) -> bool:
    """Whether any RQ worker listens to our queue."""
    with Redis.from_url(url) as connection:
        return bool(Worker.count(connection=connection, queue=_queue(connection)))


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

    Raises OperationError when a job fails, naming its error; the others go on.
    """
    started = time.monotonic()
    async with open_chain(settings, name, engine, registry) as chain:
        head = (await chain.source.head()).height
        window = BlockRange(first, head if last is None else min(last, head))
        gaps = missing_ranges(chain, window)
        total = sum(gap.blocks for gap in gaps)
        if gaps:
            await know_children(chain, gaps[-1].last, chain.streams)
        path = None if settings.path is None else str(settings.path)
        with Redis.from_url(url) as connection:
            queue = _queue(connection)
            jobs = [
                queue.enqueue(
                    backfill_range,
                    path, name, chunk.first, chunk.last,
                    job_timeout=JOB_SECONDS,
                )
                for chunk in split(gaps, 16, chain.range_blocks)
            ]  # fmt: skip
            facts = 0
            while jobs:
                await asyncio.sleep(POLL_SECONDS)
                jobs, written = _settle(jobs)
                facts += written
                left = _missing(chain, window)
                seconds = time.monotonic() - started
                progress = Progress(window, total, total - left, facts, seconds)
                report(progress)
    return Progress(window, total, total, facts, time.monotonic() - started)


def _settle(jobs: list[Job]) -> tuple[list[Job], int]:
    """The jobs still under way, and the facts of those that ended."""
    left, facts = [], 0
    for job in jobs:
        job.refresh()  # type: ignore[no-untyped-call]
        if job.is_finished:
            facts += int(job.return_value() or 0)
        elif job.is_failed or job.is_stopped or job.is_canceled:
            result = job.latest_result()
            why = "it was stopped" if result is None else str(result.exc_string or "")
            raise OperationError(
                f"job {job.id} failed: {why.strip().splitlines()[-1] if why else why}. "
                "What was written stays; run the backfill again for the rest."
            )
        else:
            left.append(job)
    return left, facts


def _missing(chain: Chain, window: BlockRange) -> int:
    return sum(gap.blocks for gap in missing_ranges(chain, window))


def _queue(connection: "Redis[bytes]") -> Queue:
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)
