"""Whatever changes in a topology is planned, applied, and then nothing is left to do."""

import pytest

from brokerkit import Topology, planning
from brokerkit.planning import Options
from tests.planning.brokers import Place, prefixed, rabbitmqs
from tests.planning.mutations import MUTATIONS, Mutation, focused, together

EVERYTHING = Options(prune=True, replace="side-by-side")

OF_WORKERS = ("max_deliveries", "retry", "timeout", "strict")
"""What RabbitMQ knows nothing of: workers see to it."""


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
async def test_a_change_is_planned_and_applied_and_then_nothing_is_left(place: Place, mutation: Mutation) -> None:
    before, after = mutation.before, mutation.after
    async with place.transport() as transport:
        first = await planning.apply(transport, await planning.plan(transport, before, EVERYTHING))
        assert not first.left.changes
        planned = await planning.plan(transport, after, EVERYTHING)
        assert planned.changes
        applied = await planning.apply(transport, planned)
        assert (applied.plan.changes, applied.left.changes, applied.left.leftovers) == (planned.changes, (), ())
        assert (await planning.apply(transport, planned)).plan.changes == ()
    async with place.transport() as transport:
        assert not (await planning.plan(transport, after, EVERYTHING)).changes
        if after.queues:  # of an app that declares nothing, nothing is remembered
            assert not (await planning.drift(transport, after.name)).changes


@pytest.mark.parametrize("place", ["memory", "redis", *rabbitmqs()], indirect=True)
async def test_all_changes_at_once_are_planned_and_applied_and_then_nothing_is_left(place: Place) -> None:
    """At once, since each apply on RabbitMQ excludes all others of the virtual host."""
    known = [
        each for each in MUTATIONS if not (place.url and any(f"{word} changed" in each.name for word in OF_WORKERS))
    ]
    parts = {f"{place.prefix}{number}.": focused(each) for number, each in enumerate(known)}
    app = f"{place.prefix}app"
    before = together(app, [prefixed(each.before, prefix) for prefix, each in parts.items()])
    after = together(app, [prefixed(each.after, prefix) for prefix, each in parts.items()])
    async with place.transport() as transport:
        try:
            first = await planning.apply(transport, await planning.plan(transport, before, EVERYTHING), wait=60)
            assert not first.left.changes
            planned = await planning.plan(transport, after, EVERYTHING)
            for prefix, mutation in parts.items():
                touched = [change for change in planned.changes if prefix in change.name]
                assert touched or (place.lists and "no limit" in mutation.name), mutation.name
            applied = await planning.apply(transport, planned, wait=60)
            assert (applied.plan.changes, applied.left.changes, applied.left.leftovers) == (planned.changes, (), ())
            assert (await planning.apply(transport, planned, wait=60)).plan.changes == ()
            assert not (await planning.drift(transport, app)).changes
        finally:
            nothing = await planning.plan(transport, Topology(app), EVERYTHING)
            await planning.apply(transport, nothing, wait=60)
