"""Leases, what is added once, and counters, for stores that have them."""

from __future__ import annotations

import asyncio

from brokerkit.abilities import AddOnce, Counters, Leases
from brokerkit.testing.conformance.harness import StoreHarness, StoreScenario


async def a_lease_has_one_owner(harness: StoreHarness) -> None:
    async with harness.connect() as store, harness.connect() as other:
        if not (isinstance(store, Leases) and isinstance(other, Leases)):
            return
        name, seconds = harness.name("leader"), 20 * harness.step
        assert await store.lease(name, "a", seconds), "nobody has it"
        assert not await other.lease(name, "b", seconds), "a has it"
        assert await other.lease(name, "a", seconds), "a keeps it"
        assert not await store.lease(name, "b", 0), "what another has cannot be given back"
        assert await store.lease(name, "a", 0), "a gives it back"
        assert await other.lease(name, "b", seconds), "nobody has it any more"


async def a_lease_runs_out(harness: StoreHarness) -> None:
    async with harness.connect() as store:
        if not isinstance(store, Leases):
            return
        name = harness.name("leader")
        assert await store.lease(name, "a", harness.step)
        await harness.advance(2 * harness.step)
        assert await store.lease(name, "b", harness.step), "a's time is over"


async def one_of_many_takes_a_lease(harness: StoreHarness) -> None:
    async with harness.connect() as store, harness.connect() as other:
        if not (isinstance(store, Leases) and isinstance(other, Leases)):
            return
        name = harness.name("leader")
        tries = [each.lease(name, str(n), 20 * harness.step) for n in range(10) for each in (store, other)]
        taken = await asyncio.gather(*tries)
        assert sum(taken) in (1, 2), f"two processes of the same name at most, {sum(taken)} took it"


async def only_the_first_adds(harness: StoreHarness) -> None:
    async with harness.connect() as store, harness.connect() as other:
        if not (isinstance(store, AddOnce) and isinstance(other, AddOnce)):
            return
        key = harness.name("key")
        added = await asyncio.gather(*(each.add_once(key, 2 * harness.step) for each in (store, other) * 5))
        assert sum(added) == 1, f"{sum(added)} were told that they are the first"
        assert await store.add_once(harness.name("key"), 2 * harness.step), "another key is another matter"
        await harness.advance(4 * harness.step)
        assert await other.add_once(key, harness.step), "it is forgotten by now"


async def counters_count(harness: StoreHarness) -> None:
    async with harness.connect() as store, harness.connect() as other:
        if not (isinstance(store, Counters) and isinstance(other, Counters)):
            return
        name = harness.name("counter")
        await asyncio.gather(*(each.count(name, 2, 20 * harness.step) for each in (store, other) * 10))
        assert await store.count(name, -5, 2 * harness.step) == 35, "none was lost, none counted twice"
        await harness.advance(4 * harness.step)
        assert await other.count(name, 1, harness.step) == 1, "it is forgotten by now"


SCENARIOS: tuple[StoreScenario, ...] = (
    a_lease_has_one_owner,
    a_lease_runs_out,
    one_of_many_takes_a_lease,
    only_the_first_adds,
    counters_count,
)
