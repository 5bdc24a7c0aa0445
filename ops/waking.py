"""Let notifications of Postgres wake what runs in the event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from sqlalchemy import Engine

from db.listen import Listener


@contextlib.asynccontextmanager
async def heard(
    engine: Engine, channel: str, fits: Callable[[str], bool] = lambda _: True
) -> AsyncIterator[asyncio.Event]:
    """An event that is set by each notification whose payload fits, while it lasts.

    It is also set when the connection was away, as anything may have been missed.
    """
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def hear(payload: str) -> None:
        if not payload or fits(payload):
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(event.set)

    listener = Listener(engine, channel, hear).start()
    try:
        yield event
    finally:
        await asyncio.shield(asyncio.to_thread(listener.stop))


async def pause(stop: asyncio.Event, woken: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until one of the two is set."""
    waits = [asyncio.create_task(each.wait()) for each in (stop, woken)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
