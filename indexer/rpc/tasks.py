"""Running coroutines together: all of them, or none after the first failure."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def gather(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results in order; the first failure cancels the rest and is raised.

    Whoever is cancelled as one of them fails ends as cancelled: a `TaskGroup` of Python
    3.11 would raise the failure, and the cancellation would be lost.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    if not tasks:
        return []
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and (failure := task.exception()) is not None:
            raise failure
    return [task.result() for task in tasks]


async def both(
    one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]
) -> tuple[T, U]:
    """The results of two; the first failure cancels the other and is raised."""
    found: list[Any] = await gather([one, other])
    return found[0], found[1]
