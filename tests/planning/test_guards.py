"""What apply refuses: to lose messages, to touch what is not its own, to work on something else than was planned."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from brokerkit import Binding, Exchange, Queue, Topology, planning
from brokerkit.clock import SystemClock
from brokerkit.delivery import QueueSource
from brokerkit.errors import ApplyUnderWay, DataAtRisk, PlanOutdated, PlanRefused, TopologyConflict
from brokerkit.message import Message, Outgoing
from brokerkit.planning import Action, Options, Plan, from_file, to_file
from brokerkit.transport import Published
from tests.planning.brokers import Place, places

PRUNE = Options(prune=True)
EVERYWHERE = pytest.mark.parametrize("place", places(), indirect=True)


def shop(place: Place, *queues: str, app: str = "shop") -> Topology:
    orders = f"{place.prefix}orders"
    held = [Queue(f"{place.prefix}{name}", [Binding(orders, f"{name}.#")], dead_letter=False) for name in queues]
    return Topology(f"{place.prefix}{app}", [Exchange(orders, "topic")] if queues else [], held)


async def apply(transport: Any, topology: Topology, options: Options = PRUNE, **more: Any) -> planning.Applied:
    return await planning.apply(transport, await planning.plan(transport, topology, options), wait=60, **more)


async def put(transport: Any, queue: str, count: int) -> None:
    now = SystemClock().now()
    letters = [Outgoing(Message(id=f"{queue}-{n}", name="x", body=b"{}", created=now), "", queue) for n in range(count)]
    assert await transport.publish(letters, deadline=10) == [Published.CONFIRMED] * count


@pytest.fixture
async def opened(place: Place) -> AsyncIterator[Any]:
    """A transport to the broker, on which nothing of this test stays."""
    async with place.transport() as transport:
        yield transport
        for app in ("shop", "other"):
            await apply(transport, Topology(f"{place.prefix}{app}"), allow_loss=100)


@EVERYWHERE
async def test_a_queue_that_holds_messages_is_deleted_only_with_their_number(opened: Any, place: Place) -> None:
    await apply(opened, shop(place, "a", "b"))
    await put(opened, f"{place.prefix}b", 3)
    planned = await planning.plan(opened, shop(place, "a"), PRUNE)
    deleting = [(each.action, each.messages, each.loses) for each in planned.changes if each.kind == "queue"]
    assert deleting == [(Action.DELETE, 3, 3)]
    for allowed in (0, 2):
        with pytest.raises(DataAtRisk, match="--allow-data-loss 3"):
            await planning.apply(opened, planned, allow_loss=allowed, wait=60)
    assert (await opened.stats(f"{place.prefix}b")).ready == 3
    applied = await planning.apply(opened, planned, allow_loss=3, wait=60)
    assert not applied.left.changes


@EVERYWHERE
async def test_a_queue_that_somebody_reads_is_not_deleted(opened: Any, place: Place) -> None:
    await apply(opened, shop(place, "a", "b"))
    async with opened.consume([QueueSource(f"{place.prefix}b")]) as subscription:
        waiting = asyncio.ensure_future(subscription.receive(dict.fromkeys(_lanes(f"{place.prefix}b"), 1)))
        async with asyncio.timeout(10):
            while not (await opened.stats(f"{place.prefix}b")).consumers:
                await asyncio.sleep(0.02)
        with pytest.raises(PlanRefused, match="1 consumers read it; stop them first"):
            await apply(opened, shop(place, "a"))
        await subscription.pause()
        await waiting
    assert not (await apply(opened, shop(place, "a"))).left.changes


def _lanes(queue: str) -> list[Any]:
    from brokerkit.delivery import Lane

    return [Lane(queue, 0)]


@EVERYWHERE
async def test_what_is_no_longer_declared_stays_unless_it_is_pruned_and_what_others_have_always(
    opened: Any, place: Place
) -> None:
    await apply(opened, shop(place, "a", "b"))
    await apply(opened, shop(place, "b", "c", app="other"))
    stays = await apply(opened, shop(place, "a"), Options())
    assert not stays.plan.changes
    assert any(f"{place.prefix}b" in each for each in stays.plan.leftovers)
    pruned = await apply(opened, shop(place, "a"))
    assert {change.action for change in pruned.plan.changes} <= {Action.RELEASE, Action.UNBIND}
    await put(opened, f"{place.prefix}b", 1)
    await put(opened, f"{place.prefix}c", 1)


@EVERYWHERE
async def test_a_saved_plan_is_carried_out_once_and_refused_when_the_broker_has_changed(
    opened: Any, place: Place
) -> None:
    await apply(opened, shop(place, "a"))
    saved = to_file(await planning.plan(opened, shop(place, "a", "b"), PRUNE))
    assert from_file(saved).changes
    assert (await planning.apply(opened, from_file(saved), wait=60)).plan.changes
    assert not (await planning.apply(opened, from_file(saved), wait=60)).plan.changes
    await apply(opened, shop(place, "a", "b", "c"))
    with pytest.raises(PlanOutdated, match=f"delete queue {place.prefix}c"):
        await planning.apply(opened, from_file(saved), wait=60)


@EVERYWHERE
async def test_of_two_applies_at_one_time_the_second_waits_or_gives_up(opened: Any, place: Place) -> None:
    async with place.transport() as other:
        async with opened.planner.alone(60):
            planned = Plan(wanted=shop(place, "a"), broker=opened.capabilities.name)
            with pytest.raises(ApplyUnderWay):
                await planning.apply(other, planned, wait=0.3)
        wanted = shop(place, "a", "b", "c")
        both = await asyncio.gather(*(apply(each, wanted) for each in (opened, other)))
        assert sorted(bool(each.plan.changes) for each in both) == [False, True]


@EVERYWHERE
async def test_an_apply_may_end_after_every_step_and_the_next_one_goes_on(opened: Any, place: Place) -> None:
    await apply(opened, shop(place, "a", "b"))
    wanted = shop(place, "b", "c", "d")
    ended: set[str] = set()
    for _ in range(60):
        async with place.transport() as transport:
            seen: list[str] = []

            def done(what: str, seen: list[str] = seen) -> None:
                seen.append(what)
                step = f"{what} {seen.count(what)}"
                if step not in ended:
                    ended.add(step)
                    raise InterruptedError(step)

            try:
                applied = await apply(transport, wanted, done=done)
            except InterruptedError:
                if place.url:
                    await transport.abandon()
                continue
        assert not applied.left.changes
        break
    assert len(ended) >= (1 if not place.url.startswith("amqp") else 7)
    assert not (await planning.plan(opened, wanted, PRUNE)).changes
    for name in ("b", "c", "d"):
        await put(opened, f"{place.prefix}{name}", 1)


@pytest.mark.parametrize("place", places()[:3], indirect=True)
async def test_another_apps_object_cannot_be_changed(opened: Any, place: Place) -> None:
    await apply(opened, shop(place, "a"))
    theirs = shop(place, "a", app="other")
    changed = msgspec.structs.replace(theirs.queues[0], max_length=5)
    with pytest.raises(TopologyConflict, match="declared by app"):
        await planning.plan(opened, msgspec.structs.replace(theirs, queues=(changed,)))
