"""Running coroutines together: all of them, or none after the first failure."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def gather(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Their results in order; the first failure cancels the rest and is raised.

    Whoever is cancelled as one of them fails ends as cancelled: a `TaskGroup` alone
    would raise the failure, and the cancellation would be lost.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        own = asyncio.current_task()
        if own is not None and own.cancelling():
            raise asyncio.CancelledError from None
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def both(
    one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]
) -> tuple[T, U]:
    """The results of two; the first failure cancels the other and is raised."""
    found: list[Any] = await gather([one, other])
    return found[0], found[1]
