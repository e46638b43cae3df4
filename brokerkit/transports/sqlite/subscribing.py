"""The event loop's side of subscribing and committing: what is held is known here, not in the writer's thread."""

from __future__ import annotations

from collections.abc import Sequence

from brokerkit.abilities import Committed, Unit
from brokerkit.delivery import Delivery, GroupSource, Lane, Source
from brokerkit.topology.suggestion import unknown_source
from brokerkit.transports.sqlite.broker import SqliteBroker
from brokerkit.transports.sqlite.database import Database
from brokerkit.transports.sqlite.placing import parcels
from brokerkit.transports.sqlite.publishing import Bundle
from brokerkit.transports.sqlite.settling import verdict
from brokerkit.transports.sqlite.subscription import SqliteSubscription
from brokerkit.transports.sqlite.transaction import Transaction


async def commit(database: Database, broker: SqliteBroker, units: Sequence[Unit]) -> list[Committed]:
    """Let go of the deliveries, commit, and take back those that were not settled."""
    holders = [_let_go(broker, unit.delivery) for unit in units]
    pairs = list(zip(units, holders, strict=True))
    bundles = [_bundle(unit) for unit, holder in pairs if holder is not None]
    try:
        done = iter(await database.do(broker.commit, bundles))
    except BaseException:
        for unit, holder in pairs:
            if holder is not None:
                holder.hold(unit.delivery)
        raise
    answers = [next(done) if holder is not None else Committed.LOST for holder in holders]
    for (unit, holder), answer in zip(pairs, answers, strict=True):
        if holder is not None and answer not in (Committed.DONE, Committed.LOST):
            holder.hold(unit.delivery)
    return answers


def _let_go(broker: SqliteBroker, delivery: Delivery) -> SqliteSubscription | None:
    holder = broker.subscription_of(delivery.token.owner)
    return holder if holder is not None and holder.let_go(delivery) else None


def _bundle(unit: Unit) -> Bundle:
    return Bundle(verdict(unit.delivery, unit.outcome), unit.record, parcels(unit.followups))


def subscribe(
    tx: Transaction, broker: SqliteBroker, subscription: SqliteSubscription, sources: Sequence[Source]
) -> None:
    """Find the sources' numbers and lanes, and register."""
    routes = broker.routes
    routes.refresh(tx)
    lanes: list[tuple[Lane, int]] = []
    numbers: list[int] = []
    for source in sources:
        target = routes.plan.targets.get(source.key)
        if target is None:
            raise unknown_source(source.key, routes.plan.targets)
        number = routes.ids[source.key]
        numbers.append(number)
        lanes += [(Lane(source.key, level), number) for level in reversed(range(target.lanes))]
        if isinstance(source, GroupSource):
            numbers.append(routes.ids[source.log])
    subscription.bind(lanes, tuple(dict.fromkeys(numbers)), dict(routes.keys))
    broker.owners.register(tx, subscription.owner)
