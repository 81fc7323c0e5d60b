"""Waiting that can be cancelled, whatever happens at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from km.futures import within


async def test_the_result_is_given_when_it_comes_in_time() -> None:
    assert await within(5, asyncio.sleep(0, "result")) == "result"


async def test_work_that_takes_too_long_is_cancelled() -> None:
    work = asyncio.ensure_future(asyncio.sleep(60))

    with pytest.raises(asyncio.TimeoutError):
        await within(0.01, work)

    assert work.cancelled()


async def test_what_went_wrong_is_raised() -> None:
    async def fails() -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await within(5, fails())


async def test_being_cancelled_is_not_forgotten_when_the_result_comes_at_the_same_moment() -> None:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waits = asyncio.create_task(within(5, ready))
    await asyncio.sleep(0)
    ready.set_result("too late")
    waits.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waits
