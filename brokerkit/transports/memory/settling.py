"""Outcomes carried out: singly, and as units with their report and follow-ups."""

from __future__ import annotations

import msgspec

from brokerkit.abilities import Committed, Unit
from brokerkit.delivery import Delivery
from brokerkit.outcome import Ack, DeadLetter, Outcome, Redeliver
from brokerkit.store import Put
from brokerkit.transport import Settled
from brokerkit.transports.memory.broker import MemoryBroker, Target
from brokerkit.transports.memory.deadletters import bury, can_bury
from brokerkit.transports.memory.entry import Entry


def settle(broker: MemoryBroker, delivery: Delivery, outcome: Outcome, now: float) -> Settled:
    """Carry out one outcome of a delivery that is held; FAILED leaves it held."""
    entry: Entry = delivery.token
    queue = broker.queues[entry.queue]
    if isinstance(outcome, Ack):
        queue.finish(entry)
    elif isinstance(outcome, Redeliver):
        due = broker.due(entry, outcome, now)
        entry.message = msgspec.structs.replace(
            entry.message, attempt=outcome.attempt, postponed=outcome.postponed, due=due
        )
        queue.again(entry, due, now)
    elif isinstance(outcome, DeadLetter):
        if not can_bury(broker, queue, now):
            return Settled.FAILED
        bury(broker, queue, entry, outcome, now)
    else:
        entry.deliveries -= 1
        entry.starts -= delivery.marked
        queue.give_back(entry)
    return Settled.DONE


def commit(broker: MemoryBroker, unit: Unit, now: float) -> Committed:
    """Carry out a unit whose delivery is held: everything of it, or nothing and the reason."""
    trouble = _refusal(broker, unit, now)
    if trouble is not None:
        return trouble
    # Writing is the last thing that can refuse: it compares and writes in one step.
    if unit.record is not None:
        written = broker.store.write(unit.record, now)
        if written is not Put.STORED:
            return Committed.STALE if written is Put.STALE else Committed.TOO_LARGE
    # The outcome before the follow-ups: it may make the room that was counted with.
    settle(broker, unit.delivery, unit.outcome, now)
    for outgoing in unit.followups:
        broker.publish(outgoing, now)
    return Committed.DONE


def _refusal(broker: MemoryBroker, unit: Unit, now: float) -> Committed | None:
    """What stands against the follow-ups or the outcome; changes nothing."""
    if unit.followups:
        verdict = Put.STORED if unit.record is None else broker.store.judge(unit.record, now)
        if verdict is not Put.STORED:
            return Committed.STALE if verdict is Put.STALE else Committed.TOO_LARGE
        trouble = _followups_refused(broker, unit, now)
        if trouble is not None:
            return trouble
    if isinstance(unit.outcome, DeadLetter):
        queue = broker.queues[unit.delivery.token.queue]
        return None if can_bury(broker, queue, now) else Committed.FAILED
    return None


def _followups_refused(broker: MemoryBroker, unit: Unit, now: float) -> Committed | None:
    wanted: dict[Target, int] = {}
    if isinstance(unit.outcome, Ack | DeadLetter):
        wanted[broker.queues[unit.delivery.token.queue]] = -1
    for outgoing in unit.followups:
        if outgoing.record is not None and broker.store.judge(outgoing.record, now) is Put.TOO_LARGE:
            return Committed.TOO_LARGE
        targets = broker.route(outgoing)
        if not targets and not broker.has_inbox(outgoing):
            return Committed.UNROUTABLE
        for target in targets:
            wanted[target] = wanted.get(target, 0) + 1
    full = any(not target.has_room(now, number) for target, number in wanted.items() if number > 0)
    return Committed.FULL if full else None
