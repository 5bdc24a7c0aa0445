"""Reading ahead: ranges are read at once, and written one after the other.

A range that is written while the next is read hides the time of one answer; of a far
endpoint, many are needed. How many are read is bounded by memory here: by ranges and by
the facts to be expected in them. How many requests are under way is bounded by the
endpoint (`indexer.rpc.concurrency`).
"""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from indexer.chain import Ahead, Chain, Planned, Seen
from indexer.planning import plan_range
from indexer.streams import events_of

MOST_RANGES = 16
MOST_BATCHES = 4  # of `batch_facts` facts, that are read and not yet written
MOST_EMPTY = 100_000  # blocks, where those written last had no fact
FRESH_SECONDS = 1.0
STALE_SECONDS = 10.0

T = TypeVar("T")


async def look(chain: Chain) -> Seen:
    """The head and the last final block.

    While ranges below the head wait to be written they are those of a moment ago, and
    are asked for again meanwhile: to know of blocks above these is not urgent, and a
    fork below shows in the links of what is read.
    """
    seen = chain.seen
    age = STALE_SECONDS if seen is None else time.monotonic() - seen.at
    looking, chain.looking = chain.looking, None
    if seen is None or not chain.ahead or age >= STALE_SECONDS:
        if looking is not None:
            looking.cancel()
        chain.seen = await _look(chain)
        return chain.seen
    if looking is not None and looking.done():
        chain.seen = looking.result()
        return chain.seen
    if looking is None and age >= FRESH_SECONDS:
        looking = _in_background(_look(chain))
    chain.looking = looking
    return seen


async def _look(chain: Chain) -> Seen:
    head = await chain.source.head()
    final = await chain.source.final_height(head)
    return Seen(head, final, time.monotonic())


async def read(chain: Chain, planned: Planned, reach: int, final: int) -> Ahead:
    """Have a range read, and those above it up to block `reach`; waits for the first.

    What is given is no longer among the ranges ahead; its task is done, and well.
    """
    if not chain.ahead:
        _start(chain, planned, final)
    await read_on(chain, reach, final)
    first = chain.ahead[0]
    # Not the task itself: it may end otherwise when we are cancelled with it.
    await asyncio.wait([first.task])
    first.task.result()
    return chain.ahead.popleft()


async def read_on(
    chain: Chain, reach: int, final: int, writing: Planned | None = None
) -> None:
    """Begin to read the ranges above those that are read or being written."""
    while True:
        going = [each.planned for each in chain.ahead]
        if writing is not None:
            going.insert(0, writing)
        if going[-1][0].last >= reach or _is_deep(chain):
            return
        following = await asyncio.to_thread(plan_range, chain, reach, going)
        # Across a gap there may be children that nobody has looked for yet.
        if (
            following is None
            or following[0].first != going[-1][0].last + 1
            or following[1] != going[-1][1]
        ):
            return
        _start(chain, following, final, follows=True)


def _is_deep(chain: Chain) -> bool:
    """Whether as much is read ahead as memory should hold."""
    if chain.facts_per_block is None:
        return len(chain.ahead) > 1  # how much is in a range is not known yet
    blocks = sum(each.planned[0].blocks for each in chain.ahead)
    blocks += min(chain.blocks_per_range, chain.range_blocks)
    if not chain.facts_per_block and blocks > MOST_EMPTY:
        return len(chain.ahead) > 1  # what is there may have many
    facts = blocks * chain.facts_per_block
    if len(chain.ahead) > 1 and facts > MOST_BATCHES * chain.batch_facts:
        return True
    return len(chain.ahead) >= MOST_RANGES


def _start(
    chain: Chain, planned: Planned, final: int, *, follows: bool = False
) -> None:
    blocks, streams = planned
    fetch = chain.source.fetch(blocks, events_of(streams), follows=follows)
    chain.ahead.append(Ahead(planned, _in_background(fetch), final))


def _in_background(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task whose failure is seen when it is awaited, or dropped with it."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
