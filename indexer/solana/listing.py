"""The walk: listing the signatures of an address, newest first, down to a slot.

Nodes list backwards and in pages, so the listing is one walk from the head down, kept
page by page; a process that dies in it leaves what it has crossed, and the next goes on
below. A slot counts as crossed only when a line of a slot below it has been seen, since
lines of one slot come in any order and pages part slots. An empty or a short page is no
proof of a beginning: it must hold a line that is known from below, or reach the first
slot of the address, or an endpoint must have all blocks from that slot on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine

from db.diagnosis import Ailment
from db.position import MAX_HEIGHT, BlockRange
from db.solana import listing as stored
from db.solana.listing import Listed
from idl.base58 import to_base58
from indexer.errors import Contradiction, Late, Retryable
from indexer.rpc.answers import RpcCall, RpcError
from indexer.rpc.endpoint import Endpoint, Health
from indexer.rpc.messages import Malformed
from indexer.rpc.refusals import ErrorKind
from indexer.solana.client import (
    CONFIRMED,
    FIRST_BLOCK,
    PAGE_MAX,
    SolanaClient,
    page_call,
    statuses_call,
)
from indexer.solana.messages import RpcSignature, signature_bytes

OVERLAP = 64  # slots below what is listed that are looked at again
WALK_SECONDS = 20.0  # then the loop hears how far it is, and it goes on

log = logging.getLogger(__name__)
T = TypeVar("T")


class Unproved(Late):
    """No endpoint can show where the history of an address begins."""


class StillListing(Retryable):
    """The walk is under way, here or in another process."""

    ailment = Ailment.CATCHING_UP


class Listing:
    """The listing of one chain, as it is stored."""

    def __init__(self, engine: Engine, source_id: int) -> None:
        self._engine = engine
        self.source_id = source_id

    async def run(self, ask: Callable[[Connection, int], T]) -> T:
        """Run a question or a change in a transaction of its own, in a thread."""
        return await asyncio.to_thread(self._run, ask)

    def _run(self, ask: Callable[[Connection, int], T]) -> T:
        with self._engine.begin() as connection:
            return ask(connection, self.source_id)

    @contextmanager
    def alone(self, address: bytes) -> Iterator[None]:
        """Hold an address against other processes; raises Retryable when one walks."""
        with stored.alone(self._engine, self.source_id, address) as given:
            if not given:
                raise StillListing(
                    f"another process lists {to_base58(address)}: waiting for it"
                )
            yield


class Walker:
    """Lists the signatures of addresses as far as they are asked for."""

    def __init__(self, client: SolanaClient, listing: Listing) -> None:
        self._client = client
        self._listing = listing
        self._walking = asyncio.Lock()
        self.pages = 0

    async def cover(
        self, address: bytes, start: int, wanted: BlockRange, head: int
    ) -> None:
        """List an address until slots are crossed whole; `start` is its first one.

        Raises Retryable when that takes long: what was listed stays.
        """
        if not await self._missing(address, wanted):
            return
        async with self._walking:
            ends_at = time.monotonic() + WALK_SECONDS
            with self._listing.alone(address):
                # Highest first: a walk comes from the head, and crosses all above.
                while await self._missing(address, wanted):
                    everything = BlockRange(wanted.first, head)
                    gap = (await self._missing(address, everything))[-1]
                    await self._walk(address, start, gap, head, ends_at)

    async def _missing(self, address: bytes, within: BlockRange) -> list[BlockRange]:
        return await self._listing.run(
            lambda connection, source: stored.missing(
                connection, source, address, within
            )
        )

    async def _near(self, address: bytes, slot: int, *, above: bool) -> Listed | None:
        return await self._listing.run(
            lambda connection, source: stored.nearest(
                connection, source, address, slot, above=above
            )
        )

    async def _walk(
        self, address: bytes, start: int, gap: BlockRange, head: int, ends_at: float
    ) -> None:
        """List the slots of a gap, page by page, from its end down."""
        name = to_base58(address)
        upper = await self._near(address, gap.last + OVERLAP, above=True)
        known = await self._near(address, gap.first, above=False)
        before = None if upper is None else to_base58(upper.signature)
        limit = await self._first_limit(address, gap)
        # Nothing of the gap is crossed yet, and whole pages may be above it.
        lowest = MAX_HEIGHT if upper is None else upper.slot
        again = await self._final_lines(address, gap.last, upper)
        asked = asyncio.create_task(self._page(name, before, limit, head, again))
        try:
            while True:
                page, endpoint = await asked
                found = [_line(each) for each in page if each.slot >= start]
                last = page[-1].slot if page else lowest
                done = bool(page) and last < max(gap.first - OVERLAP, 0)
                if not done and len(page) < limit:
                    done = True
                    end = page_call(name, before, limit)
                    await self._check_end(start, page, known, end, endpoint)
                following = next_before(page)
                stuck = not done and (following == before or last > lowest)
                if not done and not stuck:
                    # The next page is on its way while this one is stored.
                    again = _again(page, following)
                    ask = self._page(name, following, PAGE_MAX, head, again)
                    asked = asyncio.create_task(ask)
                first = gap.first if done else max(last + 1, gap.first)
                crossed = BlockRange(first, gap.last) if first <= gap.last else None
                await self._keep(address, found, crossed)
                if done:
                    return
                if stuck:
                    raise Contradiction(
                        f"the listing of {name} does not go on below slot {last}: an "
                        "endpoint gives the same page again; asking again"
                    )
                before, lowest, limit = following, last, PAGE_MAX
                if time.monotonic() > ends_at:
                    raise StillListing(
                        f"the listing of {name} has come down to slot {last} of "
                        f"{gap.first}: going on"
                    )
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _keep(
        self, address: bytes, found: Sequence[Listed], crossed: BlockRange | None
    ) -> None:
        """Store the lines of a page, and which slots are crossed now."""
        await self._listing.run(
            lambda connection, source: stored.store(
                connection, source, address, found, crossed
            )
        )
        self.pages += 1

    async def _final_lines(
        self, address: bytes, last: int, upper: Listed | None
    ) -> dict[str, int]:
        """The lines above a gap that its first pages show again, with their slots."""
        top = last + OVERLAP if upper is None else upper.slot - 1
        if top <= last:
            return {}
        above = BlockRange(last + 1, top)
        lines = await self._listing.run(
            lambda connection, source: stored.listed(connection, source, address, above)
        )
        return {to_base58(line.signature): line.slot for line in lines if line.final}

    async def _first_limit(self, address: bytes, gap: BlockRange) -> int:
        """As many lines as are known close below, and some; a page when none are."""
        close = BlockRange(max(gap.first - 2 * OVERLAP, 0), gap.first)
        if gap.blocks > 10 * OVERLAP:
            return PAGE_MAX
        near = await self._listing.run(
            lambda connection, source: stored.listed(connection, source, address, close)
        )
        return min(PAGE_MAX, len(near) + 100)

    async def _page(
        self,
        name: str,
        before: str | None,
        limit: int,
        head: int,
        again: Mapping[str, int],
    ) -> tuple[list[RpcSignature], Endpoint]:
        """Ask for a page, which has to hold the lines that were seen in its slots.

        The last of these may go on in the next page. Where one is missing, another
        endpoint is asked first the next time.
        """
        call = page_call(name, before, limit, head)
        reply = await self._client.batch([call], height=head)
        page: list[RpcSignature] = reply.results[0]
        if len(page) < limit and all(each.slot >= head for each in page):
            page = await self._unfiltered(reply.endpoint, name, before, limit, head)
        slots = [each.slot for each in page]
        if len(page) > limit or slots != sorted(slots, reverse=True):
            raise Malformed(f"a page of the listing of {name} is not in order: again")
        lowest = slots[-1] if len(page) == limit else -1
        seen = {each.signature for each in page}
        if any(at > lowest and each not in seen for each, at in again.items()):
            error = Contradiction(
                f"{reply.endpoint.label}: a page of the listing of {name} lacks lines "
                "that were there before: asking again"
            )
            reply.endpoint.failed(Health.LAGGING, error)
            raise error
        return page, reply.endpoint

    async def _unfiltered(
        self, endpoint: Endpoint, name: str, before: str | None, limit: int, head: int
    ) -> list[RpcSignature]:
        """Ask for a page again of an endpoint that shows no line below the head.

        There may be none. Or the endpoint takes `minContextSlot` for a filter, as
        Surfpool 1.5 does: hence without it, of an endpoint that has reached the head.
        """
        reached = await self._client.ask(endpoint, CONFIRMED)
        if reached < head:
            raise Late(f"{endpoint.label} is at slot {reached}, below {head}: waiting")
        page = await self._client.ask(endpoint, page_call(name, before, limit))
        return list(page)

    async def _check_end(
        self,
        start: int,
        page: list[RpcSignature],
        known: Listed | None,
        asked: RpcCall,
        endpoint: Endpoint,
    ) -> None:
        """Raise when a listing that ends above the overlap may not be at its end.

        Another endpoint is asked first the next time.
        """
        if page and page[-1].slot <= (start if known is None else known.slot):
            return
        problem = await self._lacks(endpoint, start, asked, page)
        if known is not None:
            problem = f"slot {known.slot} has a transaction too"
        if problem:
            name, reached = asked.params[0], page[-1].slot if page else "its end"
            error = Unproved(
                f"the listing of {name} ends at slot {reached}, but {problem}: asking "
                "others; add an endpoint that keeps all history, or set the program's "
                "start to the slot of its deployment, or above and do without the rest"
            )
            endpoint.failed(Health.LAGGING, error)
            raise error

    async def _lacks(
        self, endpoint: Endpoint, start: int, asked: RpcCall, page: list[RpcSignature]
    ) -> str:
        """Say what an endpoint lacks of the history from a slot on; empty: nothing.

        The page is asked for again, twice at least, of all endpoints.
        """
        try:
            first = await self._client.ask(endpoint, FIRST_BLOCK)
        except RpcError as error:
            if error.refusal is not ErrorKind.METHOD:
                raise
            first = 0  # a node that cannot tell what it lacks keeps everything
        if first > max(start, 1):
            return f"{endpoint.label} has blocks from {first} on"
        before = asked.params[1].get("before")
        if before is not None:
            statuses = await self._client.ask(endpoint, statuses_call([before]))
            if statuses.value == [None]:
                return f"{endpoint.label} does not know the transaction above it"
        for each in (endpoint, *self._client.usable()):
            other = await self._client.ask(each, asked)
            if [line.signature for line in other] != [line.signature for line in page]:
                return f"{each.label} answers otherwise"
        return ""


def _line(page: RpcSignature) -> Listed:
    return Listed(
        page.slot, signature_bytes(page.signature),
        page.confirmation_status == "finalized",
    )  # fmt: skip


def next_before(page: list[RpcSignature]) -> str | None:
    """Return the line below which the next page begins: the last of a whole slot.

    Lines of the page's last slot come once more: their order is not reliable. Where
    all lines are of one slot, the last of them must do.
    """
    if not page:
        return None
    lowest = page[-1].slot
    whole = [each for each in page if each.slot > lowest]
    return (whole or page)[-1].signature


def _again(page: list[RpcSignature], before: str | None) -> dict[str, int]:
    """The lines of a page that come again in the next one, with their slot."""
    lowest = page[-1].slot
    found = {each.signature: lowest for each in page if each.slot == lowest}
    return {} if before in found else found  # all of one slot do not come again
