"""When a failed attempt is made again."""

import pytest

from brokerkit import (
    App,
    Context,
    GiveUp,
    Queue,
    RetriesExhausted,
    Retry,
    RetryLater,
    Settings,
    TaskFailed,
    TaskStatus,
)
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters, until


def at_once(retries: int) -> Retry:
    return Retry.fixed(max_retries=retries, delay=0)


EVERY_KIND = [
    Retry.exponential(max_retries=2, initial=0.001, max_delay=0.002, multiplier=2.0, jitter=True),
    Retry.linear(max_retries=2, initial=0.001, step=0.001, max_delay=0.002),
    Retry.fixed(max_retries=2, delay=0.001),
]


@pytest.mark.parametrize("policy", EVERY_KIND, ids=lambda policy: policy.kind)
async def test_a_task_is_tried_again_until_it_succeeds(url: str, policy: Retry) -> None:
    app = App(url)

    @app.task(retry=policy)
    async def charge(ctx: Context) -> int:
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return ctx.attempt

    async with app, app.worker():
        handle = await charge.send()
        assert await handle.result() == 3
        record = await handle.record()
    assert record is not None
    assert (record.status, record.attempt, record.run) == (TaskStatus.SUCCESS, 3, 1)
    assert [(attempt.number, attempt.error.message) for attempt in record.attempts] == [
        (1, "attempt 1"),
        (2, "attempt 2"),
    ]


@pytest.mark.parametrize("policy", EVERY_KIND, ids=lambda policy: policy.kind)
async def test_when_no_retries_are_left_the_task_has_failed(url: str, policy: Retry) -> None:
    app = App(url)

    @app.task(retry=policy)
    async def charge() -> None:
        raise ValueError("never")

    async with app, app.worker():
        handle = await charge.send()
        with pytest.raises(RetriesExhausted) as caught:
            await handle.result()
        assert (caught.value.attempts, caught.value.exhausted) == (3, True)
        (letter,) = await dead_letters(app, "default")
        assert (letter.reason, letter.error) == (Reason.FAILED, "ValueError: never")
        assert await handle.status() is TaskStatus.FAILURE


async def test_without_retries_the_first_failure_is_final(url: str) -> None:
    app = App(url)

    @app.task(retry=Retry.none())
    async def charge() -> None:
        raise ValueError("never")

    async with app, app.worker():
        with pytest.raises(TaskFailed) as caught:
            await (await charge.send()).result()
    assert type(caught.value) is TaskFailed
    assert (caught.value.attempts, caught.value.exhausted) == (1, False)


@pytest.mark.parametrize(
    ("task", "queue", "app_wide", "attempts"),
    [(1, 2, 3, 2), (None, 2, 3, 3), (None, None, 3, 4), (None, None, 0, 1), (0, 2, 3, 1)],
)
async def test_the_tasks_policy_wins_over_the_queues_and_that_over_the_apps(
    url: str, task: int | None, queue: int | None, app_wide: int, attempts: int
) -> None:
    app = App(url, settings=Settings(retry=at_once(app_wide)))
    place = Queue("payments", retry=None if queue is None else at_once(queue))

    @app.task(queue=place, retry=None if task is None else at_once(task))
    async def charge() -> None:
        raise ValueError("never")

    async with app, app.worker():
        with pytest.raises(RetriesExhausted) as caught:
            await (await charge.send()).result()
    assert caught.value.attempts == attempts


async def test_the_senders_policy_wins_over_all(url: str) -> None:
    app = App(url)

    @app.task(retry=at_once(5))
    async def charge() -> None:
        raise ValueError("never")

    async with app, app.worker():
        with pytest.raises(TaskFailed) as caught:
            await (await charge.options(retry=at_once(1)).send()).result()
        assert caught.value.attempts == 2
        with pytest.raises(TaskFailed) as caught:
            await (await charge.options(retry=Retry.none()).send()).result()
    assert caught.value.attempts == 1


@pytest.mark.parametrize(
    ("policy", "raised", "attempts", "exhausted"),
    [
        (Retry.fixed(2, 0, retry_on=(ConnectionError,)), ConnectionResetError, 3, True),  # a subclass
        (Retry.fixed(2, 0, retry_on=(ConnectionError,)), ValueError, 1, False),
        (Retry.fixed(2, 0, retry_on=("ConnectionError",)), ConnectionResetError, 3, True),
        (Retry.fixed(2, 0, give_up_on=(ValueError,)), UnicodeError, 1, False),
        (Retry.fixed(2, 0, give_up_on=(ValueError,)), KeyError, 3, True),
        (Retry.fixed(2, 0, retry_on=(Exception,), give_up_on=(KeyError,)), KeyError, 1, False),
    ],
)
async def test_a_policy_chooses_by_the_type_of_the_exception(
    url: str, policy: Retry, raised: type[Exception], attempts: int, exhausted: bool
) -> None:
    app = App(url)

    @app.task(retry=policy)
    async def charge() -> None:
        raise raised("no")

    async with app, app.worker():
        with pytest.raises(TaskFailed) as caught:
            await (await charge.send()).result()
    assert (caught.value.attempts, caught.value.exhausted) == (attempts, exhausted)


async def test_retry_later_is_honoured_whatever_the_policy_says_up_to_max_deliveries(url: str) -> None:
    app = App(url)

    @app.task(queue=Queue("payments", max_deliveries=4), retry=Retry.none())
    async def poll(ctx: Context, succeed_at: int) -> int:
        if ctx.attempt < succeed_at:
            raise RetryLater(0, reason="the bank sleeps")
        return ctx.attempt

    async with app, app.worker():
        assert await (await poll.send(4)).result() == 4
        with pytest.raises(TaskFailed, match="the bank sleeps") as caught:
            await (await poll.send(5)).result()
        assert caught.value.attempts == 4
        (letter,) = await dead_letters(app, "payments")
    assert letter.reason is Reason.TOO_MANY_DELIVERIES


async def test_not_now_is_not_counted_as_an_attempt(url: str) -> None:
    app = App(url)
    seen: list[tuple[int, int]] = []

    @app.task(queue=Queue("payments", max_deliveries=2), retry=Retry.none())
    async def poll(ctx: Context) -> int:
        seen.append((ctx.attempt, ctx.message.postponed))
        if len(seen) <= 6:
            raise RetryLater(0, counted=False)
        return ctx.attempt

    async with app, app.worker():
        assert await (await poll.send()).result() == 1
    assert seen == [(1, postponed) for postponed in range(7)]


async def test_a_counted_return_uses_up_a_retry(url: str) -> None:
    app = App(url)

    @app.task(retry=at_once(1))
    async def charge(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise RetryLater(0)
        raise ValueError("never")

    async with app, app.worker():
        with pytest.raises(RetriesExhausted) as caught:
            await (await charge.send()).result()
    assert caught.value.attempts == 2


async def test_retry_later_waits_at_the_broker(url: str) -> None:
    app = App(url)

    @app.task
    async def charge() -> None:
        raise RetryLater(3600, reason="tomorrow")

    async with app, app.worker():
        handle = await charge.send()

        async def delayed() -> bool:
            return (await app.queue_stats("default")).delayed == 1

        await until(delayed)
        stats, record = await app.queue_stats("default"), await handle.record()
    assert (stats.ready, stats.in_flight, stats.delayed) == (0, 0, 1)
    assert record is not None
    assert (record.status, record.error and record.error.message) == (TaskStatus.RETRY, "tomorrow")


async def test_give_up_dead_letters_at_once(url: str) -> None:
    app = App(url)

    @app.task(retry=at_once(5))
    async def charge() -> None:
        raise GiveUp("the card is stolen")

    async with app, app.worker():
        with pytest.raises(TaskFailed, match="the card is stolen") as caught:
            await (await charge.send()).result()
        assert (type(caught.value), caught.value.attempts) == (TaskFailed, 1)
        (letter,) = await dead_letters(app, "default")
    assert letter.reason is Reason.GAVE_UP
    assert "the card is stolen" in letter.error


async def test_a_subscriber_is_tried_again_and_dead_lettered_too(url: str) -> None:
    app = App(url)
    attempts: list[int] = []

    @app.subscribe(Queue("events"), retry=at_once(2))
    async def take(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise ValueError("never")

    async with app, app.worker():
        await app.publish({}, exchange="", routing_key="events")
        (letter,) = await dead_letters(app, "events")
    assert attempts == [1, 2, 3]
    assert letter.reason is Reason.FAILED
