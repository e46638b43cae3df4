"""Who is served next: lanes by weight, strictly or by age, and no queue starves another."""

from __future__ import annotations

from brokerkit.testing.conformance.engine_rig import EngineScenario, Rig
from brokerkit.topology import Queue

EACH = 120
"""Messages per lane."""


async def lanes_are_served_by_their_weights(rig: Rig) -> None:
    order = await _order(rig, Queue(rig.queue.name, priorities=2, weights=(1, 3)))
    urgent = order[:80].count("high")
    assert 50 <= urgent <= 70, f"3 of 4 are urgent while both lanes have some, but {urgent} of 80 were"


async def a_strict_queue_serves_the_most_urgent_first(rig: Rig) -> None:
    order = await _order(rig, Queue(rig.queue.name, priorities=2, strict=True), concurrency=16)
    early = order[:EACH].count("low")
    assert not early, f"{early} ran while something more urgent waited"


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


async def _order(rig: Rig, queue: Queue, concurrency: int = 1) -> list[str]:
    """The order in which two full lanes are served."""
    order: list[str] = []
    rig.queue = queue

    @rig.task()
    async def work(name: str) -> None:
        order.append(name)

    async with rig.opened():
        for name in ("low", "high"):
            await rig.send_all([work.options(priority=name).message(name) for _ in range(EACH)])
        await rig.start(concurrency=concurrency)
        await rig.drained()
    return order


SCENARIOS: tuple[EngineScenario, ...] = (
    lanes_are_served_by_their_weights,
    a_strict_queue_serves_the_most_urgent_first,
    who_has_waited_too_long_comes_first,
    a_flooded_queue_does_not_starve_another,
)
