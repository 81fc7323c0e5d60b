"""Several things at once, in one asyncio loop (Python 3.10 has no TaskGroup)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Result = TypeVar("Result")


async def first_of(*works: Awaitable[None]) -> None:
    """Run several things until one ends or fails; stop the others; raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def within(seconds: float, work: Awaitable[Result]) -> Result:
    """Wait for a result; cancel the work and raise asyncio.TimeoutError when it takes longer.

    Not `asyncio.wait_for`: before Python 3.12 that one forgets that it was cancelled when the
    result comes at the same moment, and whoever waits for the cancelled task waits for ever
    (https://github.com/python/cpython/issues/86296).
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise asyncio.TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it, and it is no news then
