"""Whatever a handler does becomes an outcome, and its slot is free again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from brokerkit.context import Context
from brokerkit.errors import GiveUp, RetriesExhausted, RetryLater, TaskError, TaskFailed
from brokerkit.message import Message
from brokerkit.outcome import Reason
from brokerkit.records import TaskStatus
from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig, only
from brokerkit.testing.conformance.harness import Injector
from brokerkit.topology import Retry

LONG_TEXT = 1_000_000


class Unprintable(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Sinister(Exception):
    """Making its text tries to end the process."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Unsendable:
    """Pretends to be a model, and fails when it is dumped."""

    def model_dump(self, **_: Any) -> Any:
        raise KeyError("broken")


RAISED: tuple[Callable[[], BaseException], ...] = (
    lambda: SystemExit(1),
    GeneratorExit,
    lambda: BaseException("base"),
    asyncio.CancelledError,
    Unprintable,
    Sinister,
    lambda: ValueError("lone \ud800 surrogate"),
    lambda: ValueError("x" * LONG_TEXT),
    lambda: BaseExceptionGroup("many", [ValueError("one"), SystemExit(2)]),
    StopIteration,
)


async def whatever_a_handler_raises_becomes_a_failure(rig: Rig) -> None:
    @rig.task(retry=Retry.none())
    async def fail(which: int) -> None:
        error = RAISED[which]()
        raise error

    await _all_fail(rig, fail)


async def whatever_a_sync_handler_raises_becomes_a_failure(rig: Rig) -> None:
    @rig.task(retry=Retry.none())
    def fail(which: int) -> None:
        error = RAISED[which]()
        raise error

    await _all_fail(rig, fail)


async def _all_fail(rig: Rig, fail: Any) -> None:
    async with rig.opened():
        process = await rig.start(concurrency=1, sync_threads=1)
        for which in range(len(RAISED)):
            handle = await rig.send(fail.message(which))
            error = await rig.outcome(handle)
            assert isinstance(error, TaskFailed), f"raising {which} ended as {error!r}"
            assert len(error.remote_message) <= 2_000, "its text is bounded"
            assert len(error.traceback) <= 10_000, "its traceback is bounded"
            assert "\ud800" not in error.remote_message + error.traceback, "and can be encoded"
        await rig.drained()
        assert process.worker is not None
        assert process.worker.running == 0, "every slot is free again"
        assert list((await rig.dead()).values()) == [Reason.FAILED] * len(RAISED)


async def a_result_that_cannot_be_sent_fails_once(rig: Rig) -> None:
    runs: list[int] = []
    values: list[Callable[[], Any]] = [object, Unsendable, lambda: "\ud800", lambda: 2**70]

    @rig.task()
    async def give(which: int) -> Any:
        runs.append(which)
        return values[which]()

    async with rig.opened():
        await rig.start(concurrency=1)
        for which in range(len(values)):
            error = await rig.outcome(await rig.send(give.message(which)))
            assert isinstance(error, TaskFailed), f"value {which} ended as {error!r}"
        await rig.drained()
        assert runs == list(range(len(values))), f"running it again would not help, but the runs were {runs}"
        assert list((await rig.dead()).values()) == [Reason.FAILED] * len(values)


async def attempts_are_counted_and_fences_rise(rig: Rig) -> None:
    seen: list[tuple[int, tuple[int, int, int]]] = []

    @rig.task()
    async def third_time(ctx: Context) -> str:
        seen.append((ctx.attempt, ctx.fence))
        if ctx.attempt < 3:
            raise ConnectionError("not yet")
        return "done"

    async with rig.opened():
        await rig.start()
        handle = await rig.send(third_time.message())
        assert await rig.result(handle) == "done"
        assert [attempt for attempt, _ in seen] == [1, 2, 3]
        fences = [fence for _, fence in seen]
        assert fences == sorted(set(fences)), f"each attempt has a higher fence: {fences}"
        if rig.layout.records:
            record = await rig.record(handle.id)
            assert record is not None
            assert [attempt.number for attempt in record.attempts] == [1, 2], "failed attempts are kept"


async def when_no_retry_is_left_it_is_dead_lettered(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task(retry=Retry.fixed(max_retries=2, delay=rig.step))
    async def never(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise ConnectionError("down")

    async with rig.opened():
        await rig.start()
        handle = await rig.send(never.message())
        error = await rig.outcome(handle)
        assert isinstance(error, RetriesExhausted), f"it ended as {error!r}"
        assert error.attempts == 3
        assert runs == [1, 2, 3]
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.FAILED}


async def retry_later_is_counted_only_if_asked(rig: Rig) -> None:
    seen: list[tuple[int, tuple[int, int, int]]] = []

    @rig.task(retry=Retry.none())
    async def later(ctx: Context) -> int:
        seen.append((ctx.attempt, ctx.fence))
        if len(seen) <= 3:
            raise RetryLater(rig.step, counted=len(seen) == 3)
        return ctx.attempt

    async with rig.opened():
        await rig.start()
        assert await rig.result(await rig.send(later.message())) == 2
        assert [attempt for attempt, _ in seen] == [1, 1, 1, 2]
        fences = [fence for _, fence in seen]
        assert fences == sorted(set(fences)), f"each return has a higher fence: {fences}"


async def retry_later_for_ever_ends_in_the_dead_letter_queue(rig: Rig) -> None:
    @rig.task(retry=Retry.none())
    async def later() -> None:
        raise RetryLater(0)

    async with rig.opened():
        await rig.start()
        handle = await rig.send(later.message())
        assert isinstance(await rig.outcome(handle), TaskError)
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.TOO_MANY_DELIVERIES}


async def giving_up_dead_letters_at_once(rig: Rig) -> None:
    runs: list[int] = []

    @rig.task()
    async def hopeless(ctx: Context) -> None:
        runs.append(ctx.attempt)
        raise GiveUp("no such order")

    async with rig.opened():
        await rig.start()
        handle = await rig.send(hopeless.message())
        assert isinstance(await rig.outcome(handle), TaskFailed)
        assert runs == [1]
        await rig.drained()
        assert await rig.dead() == {handle.id: Reason.GAVE_UP}


async def what_nobody_takes_or_can_read_is_dead_lettered(rig: Rig) -> None:
    @rig.task()
    async def add(a: int, b: int) -> int:
        return a + b

    async with rig.opened():
        await rig.start(concurrency=1)
        unknown = await rig.client.send("nobody", {}, queue=rig.queue)
        garbage, misfit = (Message(id=rig.harness.name(stem), name="add", body=body, created=rig.clock.now())
                           for stem, body in (("garbage", b"\xc1"), ("misfit", b"\x81\xa1a\xa1x")))  # fmt: skip
        await rig.publish(garbage)
        await rig.publish(misfit)
        assert await rig.result(await rig.send(add.message(1, 2))) == 3, "the queue goes on"
        await rig.drained()
        assert await rig.dead() == {
            unknown.id: Reason.UNKNOWN_TASK,
            garbage.id: Reason.DECODE_ERROR,
            misfit.id: Reason.DECODE_ERROR,
        }


async def bytes_that_are_no_message_are_dead_lettered(rig: Rig) -> None:
    @rig.task()
    async def add(a: int, b: int) -> int:
        return a + b

    if not isinstance(rig.harness, Injector):
        return
    async with rig.opened():
        await rig.harness.inject(rig.queue.name, b"\xc1 not a message")
        await rig.start(concurrency=1)
        assert await rig.result(await rig.send(add.message(1, 2))) == 3, "the queue goes on"
        await rig.drained()
        assert list((await rig.dead()).values()) == [Reason.DECODE_ERROR]


async def a_retry_policy_nobody_can_read_does_no_harm(rig: Rig) -> None:
    @rig.task(retry=Retry.none())
    async def fail() -> None:
        raise ValueError("no")

    async with rig.opened():
        process = await rig.start(concurrency=1)
        policies = ("not a policy", '{"kind":"sometimes"}', '{"multiplier":1e300,"max_retries":5,"initial":0.0}')
        sent = [Message(id=rig.harness.name("m"), name="fail", body=b"\x80", retry=policy) for policy in policies]
        for message in sent:
            await rig.publish(message)
        await rig.drained()
        assert set(await rig.dead()) == {message.id for message in sent}
        assert process.worker is not None
        assert process.worker.running == 0


@only(records=True)
async def the_record_tells_the_outcome(rig: Rig) -> None:
    @rig.task(retry=Retry.none())
    async def divide(a: int, b: int) -> float:
        return a / b

    async with rig.opened():
        await rig.start()
        good, bad = await rig.send_all([divide.message(1, 2), divide.message(1, 0)])
        await rig.outcome(good)
        await rig.outcome(bad)
        records = [await rig.record(good.id), await rig.record(bad.id)]
        assert [record and record.status for record in records] == [TaskStatus.SUCCESS, TaskStatus.FAILURE]
        failure = records[1]
        assert failure is not None
        assert failure.error is not None
        assert failure.error.type == "ZeroDivisionError"


SCENARIOS: tuple[EngineScenario, ...] = (
    whatever_a_handler_raises_becomes_a_failure,
    whatever_a_sync_handler_raises_becomes_a_failure,
    a_result_that_cannot_be_sent_fails_once,
    attempts_are_counted_and_fences_rise,
    when_no_retry_is_left_it_is_dead_lettered,
    retry_later_is_counted_only_if_asked,
    retry_later_for_ever_ends_in_the_dead_letter_queue,
    giving_up_dead_letters_at_once,
    what_nobody_takes_or_can_read_is_dead_lettered,
    bytes_that_are_no_message_are_dead_lettered,
    a_retry_policy_nobody_can_read_does_no_harm,
    the_record_tells_the_outcome,
)
