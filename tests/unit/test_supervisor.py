"""Background tasks: their death is seen, and the body's own exception leaves as it is."""

from __future__ import annotations

import asyncio

import pytest

from brokerkit import supervisor as module
from brokerkit.supervisor import Supervisor


async def forever() -> None:
    await asyncio.Event().wait()


async def dies(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def cancellations() -> int:
    current = asyncio.current_task()
    assert current is not None
    return current.cancelling()


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("my own group", [ValueError("inner")])])
async def test_an_exception_of_the_body_leaves_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:  # noqa: PT012
        async with Supervisor("test") as supervisor:
            supervisor.spawn(forever(), "background")
            raise error
    assert caught.value is error


async def test_children_are_cancelled_when_the_body_ends() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            ended.append("cancelled")

    async with Supervisor("test") as supervisor:
        supervisor.spawn(child(), "child")
        await asyncio.sleep(0)
    assert ended == ["cancelled"]


async def test_the_death_of_a_child_cancels_the_body_and_is_raised() -> None:
    error = RuntimeError("dead")
    with pytest.raises(RuntimeError) as caught:  # noqa: PT012
        async with Supervisor("test") as supervisor:
            supervisor.spawn(dies(error), "child")
            await forever()
    assert caught.value is error
    assert cancellations() == 0


async def test_a_child_that_ends_by_itself_is_no_death() -> None:
    async with Supervisor("test") as supervisor:
        supervisor.spawn(asyncio.sleep(0), "short")
        await asyncio.sleep(0.001)
        assert not supervisor.failed


async def test_a_child_cancelled_by_what_it_awaits_has_died() -> None:
    async def child() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(RuntimeError, match="test: reader was cancelled by what it awaits"):  # noqa: PT012
        async with Supervisor("test") as supervisor:
            supervisor.spawn(child(), "reader")
            await forever()


async def test_a_body_that_swallows_the_cancellation_still_hears_of_the_death() -> None:
    with pytest.raises(RuntimeError, match="dead"):  # noqa: PT012
        async with Supervisor("test") as supervisor:
            supervisor.spawn(dies(RuntimeError("dead")), "child")
            try:
                await forever()
            except asyncio.CancelledError:
                pass
    assert cancellations() == 0, "the task is not left half cancelled"


async def test_what_the_body_raises_because_of_the_death_wins() -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with Supervisor("test") as supervisor:
            supervisor.spawn(dies(RuntimeError("dead")), "child")
            try:
                await forever()
            except asyncio.CancelledError:
                raise KeyError("mine") from None
    assert cancellations() == 0


async def test_a_timeout_around_it_stays_a_timeout() -> None:
    with pytest.raises(TimeoutError):  # noqa: PT012
        async with asyncio.timeout(0.001), Supervisor("test") as supervisor:
            supervisor.spawn(forever(), "child")
            await forever()


async def test_a_death_inside_a_timeout_of_the_body_is_no_timeout() -> None:
    with pytest.raises(RuntimeError, match="dead"):  # noqa: PT012
        async with Supervisor("test") as supervisor:
            supervisor.spawn(dies(RuntimeError("dead")), "child")
            async with asyncio.timeout(60):
                await forever()


async def test_being_cancelled_while_it_ends_lets_the_children_end_first() -> None:
    ended, cleaning = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        try:
            await forever()
        finally:
            cleaning.set()
            await asyncio.sleep(0.01)
            ended.set()

    async def body() -> None:
        async with Supervisor("test") as supervisor:
            supervisor.spawn(slow(), "slow")
            await asyncio.sleep(0)

    task = asyncio.create_task(body())
    await cleaning.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_child_that_does_not_end_does_not_hold_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_WORDS", 0.01)
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                pass

    async with Supervisor("test") as supervisor:
        supervisor.spawn(stubborn(), "stubborn")
        await asyncio.sleep(0)
    release.set()
    await asyncio.sleep(0.01)


async def test_inner_and_outer_supervisors_do_not_disturb_each_other() -> None:
    with pytest.raises(RuntimeError, match="inner"):  # noqa: PT012
        async with Supervisor("outer") as outer:
            outer.spawn(forever(), "child")
            async with Supervisor("inner") as inner:
                inner.spawn(dies(RuntimeError("inner")), "child")
                await forever()
    assert cancellations() == 0


async def test_nothing_starts_outside_its_context() -> None:
    with pytest.raises(RuntimeError, match="is not running"):
        Supervisor("test").spawn(forever(), "early")
