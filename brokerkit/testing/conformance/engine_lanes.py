"""Who is served next: lanes by weight, strictly or by age, and no queue starves another."""

from __future__ import annotations

from collections.abc import Callable

from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig
from brokerkit.topology import Queue

EACH = 120
"""Messages per lane."""
ROUNDS = 3


async def lanes_are_served_by_their_weights(rig: Rig) -> None:
    def urgent(order: list[str]) -> int:
        start = order.index("high")  # a broker that pushes may have brought the other lane's first ones earlier
        return order[start : start + 80].count("high")

    order = await _order(rig, Queue(rig.queue.name, priorities=2, weights=(1, 3)), lambda o: 50 <= urgent(o) <= 70)
    found = urgent(order)
    assert 50 <= found <= 70, f"3 of 4 are urgent while both lanes have some, but {found} of 80 were"


async def a_strict_queue_serves_the_most_urgent_first(rig: Rig) -> None:
    each, window = 360, 240  # of which a quarter would be less urgent if it went by weights
    most = window // 6

    def early(order: list[str]) -> int:
        return order[:window].count("low")

    queue = Queue(rig.queue.name, priorities=2, strict=True)
    order = await _order(rig, queue, lambda order: early(order) <= most, each, concurrency=16)
    assert early(order) <= most, f"only what was fetched ahead may come early, but {early(order)} did"


async def who_has_waited_too_long_comes_first(rig: Rig) -> None:
    order: list[str] = []
    rig.queue = Queue(rig.queue.name, priorities=2, weights=(1, 1000), max_wait=rig.step)

    @rig.task()
    async def work(name: str) -> None:
        order.append(name)

    async with rig.opened():
        await rig.send_all([work.options(priority="low").message("old") for _ in range(10)])
        await rig.advance(2 * rig.step)
        await rig.send_all([work.options(priority="high").message("new") for _ in range(EACH)])
        await rig.start(concurrency=1)
        await rig.drained()
        last = max(place for place, name in enumerate(order) if name == "old")
        assert last < EACH // 2, f"the last of those who had waited too long was served as number {last}"


async def a_flooded_queue_does_not_starve_another(rig: Rig) -> None:
    order: list[str] = []
    other = Queue(rig.harness.name("other"))

    @rig.task()
    async def flood() -> None:
        order.append("flood")

    @rig.task(queue=other)
    async def drop() -> None:
        order.append("drop")

    async with rig.opened():
        await rig.send_all([flood.message() for _ in range(5 * EACH)])
        await rig.send_all([drop.message() for _ in range(5)])
        process = await rig.start(concurrency=2)
        await rig.eventually(lambda: process.counts.done == 5 * EACH + 5, "not all are done")
        last = max(place for place, name in enumerate(order) if name == "drop")
        assert last < EACH, f"the small queue waited until number {last}"


async def _order(
    rig: Rig, queue: Queue, wanted: Callable[[list[str]], bool], each: int = EACH, concurrency: int = 1
) -> list[str]:
    """The order in which two full lanes are served. If it is not as wanted, they are filled again, because a machine
    that is busy may bring one of them late; nothing is left behind in any."""
    order: list[str] = []
    rig.queue = queue

    @rig.task()
    async def work(name: str) -> None:
        order.append(name)

    async with rig.opened():
        for _ in range(ROUNDS):
            order.clear()
            for name in ("low", "high"):
                await rig.send_all([work.options(priority=name).message(name) for _ in range(each)])
            process = await rig.start(concurrency=concurrency)
            await rig.drained()
            await rig.stop(process)
            assert sorted(order) == sorted(each * ["low", "high"])
            if wanted(order):
                break
    return order


SCENARIOS: tuple[EngineScenario, ...] = (
    lanes_are_served_by_their_weights,
    a_strict_queue_serves_the_most_urgent_first,
    who_has_waited_too_long_comes_first,
    a_flooded_queue_does_not_starve_another,
)
