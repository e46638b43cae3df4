"""Delays of any length on RabbitMQ without plugins: a ladder of queues, one per binary digit of the delay.

A delay is a whole number of units of 100 ms. The queue of digit *i* holds what it gets for ``2**i`` units, then
dead-letters it to the exchange of the digit below, which lets it pass where that digit is 0. The last one leads to
``bk.d.out``, which sends it to the exchange or queue named in a header. The routing key stays what it was, every step
is a quorum queue that dead-letters at least once, and since all messages of a queue wait equally long, a short delay
never stands behind a long one. The idea is NServiceBus's, with headers in place of the routing key:
https://docs.particular.net/transports/rabbitmq/delayed-delivery

At-least-once has a price: what its target does not take stays in the last queue and is offered again every three
minutes, and 32 such messages stop everybody's delays. So every exchange has an alternate: what came over the ladder and
matches nothing ends in the queue ``bk.d.lost``, from where an operator can take it. It may hold copies of messages that
reached another queue, where exchanges are bound to exchanges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec

from brokerkit.topology import Mode, Retry
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Plan, QueuePlan, merged
from brokerkit.transports.rabbitmq.versions import Version, has_delivery_limit

UNIT_MS = 100
LEVELS = 26
LONGEST_UNITS = 2**LEVELS - 1
LONGEST = LONGEST_UNITS * UNIT_MS / 1000
"""The longest delay in seconds: 77 days."""

RETRY_BITS = 6
"""Retries keep this many binary digits of their delay: at most 1/32 late, in 6 steps at most instead of 26."""

JITTER_STEPS = (0.7, 0.8, 0.9, 1.0)
"""What ``brokerkit.retry`` multiplies a delay by; a test holds the two together."""

MOST_SLOTS = 32
"""Slots of one retry policy; its further delays take the ladder."""

OUT = "bk.d.out"
LOST = "bk.d.lost"
ALTERNATE = "bk.d.alt"
"""The alternate of every exchange that has none of its own: it takes what came over the ladder, and nothing else, so
that any other publish that matches nothing is still returned."""

_MARK = "bk-d0"
"""Every message on the ladder or in a slot has this header, 0 or 1."""
_TO_QUEUE = "bk-to-q"
_TO_EXCHANGE = "bk-to-x"


class Parked(msgspec.Struct, frozen=True, gc=False):
    """Where a message waits.

    Args:
        exchange: The exchange to publish it to, with its own routing key.
        headers: What tells the broker how long; to go with the message besides the target's.
        level: The highest step of the ladder that must be declared; -1 for a slot.
        milliseconds: How long it will wait, never less than asked for.
    """

    exchange: str
    headers: Mapping[str, int]
    level: int
    milliseconds: int


class Target(msgspec.Struct, frozen=True):
    """Where a delayed message goes in the end.

    Args:
        headers: What tells the broker; to go with the message.
        binding: Must be declared before.
    """

    headers: Mapping[str, str]
    binding: BindingPlan


def milliseconds(seconds: float) -> int:
    """A delay as whole milliseconds, rounded up, but for the noise of binary fractions."""
    return max(1, math.ceil(round(seconds * 1000, 6)))


def rungs(seconds: float, *, bits: int | None = None) -> Parked:
    """The way over the ladder that takes at least this long.

    Args:
        seconds: The delay, from now; at most ``LONGEST``. One that has passed counts as the shortest.
        bits: Keep only so many binary digits, rounding up: fewer steps, and late by at most ``2 ** (1 - bits)`` of the
            delay, besides the unit. Default None: exact to the unit.

    Raises:
        ValueError: It is longer than ``LONGEST``.
    """
    units = -(-milliseconds(seconds) // UNIT_MS)
    if units > LONGEST_UNITS:
        raise ValueError(f"a delay takes at most {LONGEST:.0f} s on RabbitMQ, not {seconds:.0f}")
    if bits is not None:
        units = min(_rounded(units, bits), LONGEST_UNITS)
    level = units.bit_length() - 1
    headers = {f"bk-d{digit}": units >> digit & 1 for digit in range(level + 1)}
    return Parked(step(level), headers, level, units * UNIT_MS)


def slot(ms: int) -> Parked:
    """The slot of a delay in milliseconds: a queue that holds everything exactly so long."""
    return Parked(_slot(ms), {_MARK: 0}, -1, ms)


def slots(policy: Retry | None) -> frozenset[int]:
    """The delays in milliseconds that a declared policy asks for, jitter included; few enough to keep a queue for each.

    Args:
        policy: The ``retry`` of a queue or group, or None.
    """
    found: dict[int, None] = {}
    for delay in _delays(policy) if policy is not None else ():
        for factor in JITTER_STEPS if policy is not None and policy.jitter else (1.0,):
            if 0 < delay * factor <= LONGEST:
                found.setdefault(milliseconds(delay * factor))
        if len(found) >= MOST_SLOTS:
            break
    return frozenset(list(found)[:MOST_SLOTS])


def to_queue(name: str) -> Target:
    """A queue as the target of delayed messages."""
    return _target(_TO_QUEUE, name, to_queue=True)


def to_exchange(name: str) -> Target:
    """An exchange as the target of delayed messages; it must have an alternate."""
    return _target(_TO_EXCHANGE, name, to_queue=False)


def declarations(level: int, version: Version) -> Plan:
    """What the ladder needs for delays up to a level; level -1 is its end alone, which slots need, too.

    Args:
        level: ``Parked.level``.
        version: The broker's.
    """
    return merged([_end(version), *(_one_step(digit) for digit in range(level + 1))])


def slot_declarations(ms: int, version: Version) -> Plan:
    """What a slot needs."""
    name = _slot(ms)
    own = Plan(
        (ExchangePlan(name, "fanout"),), (_waiting(name, ms, {"x-dead-letter-exchange": OUT}),), (_bound(name, name),)
    )
    return merged([_end(version), own])


def lost_and_found(version: Version) -> Plan:
    """Where delayed messages end that match nothing; part of every topology with exchanges."""
    arguments: dict[str, str | int] = {"x-queue-type": "quorum"}
    if has_delivery_limit(version):
        arguments["x-delivery-limit"] = -1
    return Plan(
        (ExchangePlan(ALTERNATE, "headers"), ExchangePlan(LOST, "fanout")),
        (QueuePlan(LOST, arguments, backstop=True),),
        # One for each value of the mark: that a header is there, whatever its value, no import of definitions can say.
        (
            *(BindingPlan(ALTERNATE, LOST, True, "", {"x-match": "all", _MARK: bit}) for bit in (0, 1)),
            _bound(LOST, LOST),
        ),
    )


def waiting_room(queue: str, mode: Mode = "own") -> QueuePlan:
    """The queue of delayed messages that are due and wait for room in a queue with a limit.

    The ladder itself must never wait: the 32 messages that a full queue does not take would stop all delays. What found
    it full is offered again every three minutes (``dead_letter_worker_publisher_confirm_timeout``).
    """
    room = _waiting(f"bk.d.to.{queue}", 0, {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    return msgspec.structs.replace(room, mode=mode)


def _rounded(units: int, bits: int) -> int:
    shift = max(0, units.bit_length() - bits)
    return -(-units >> shift) << shift


def _delays(policy: Retry) -> Iterator[float]:
    """The delays before each retry without jitter, shortest first."""
    delay = policy.initial
    for _ in range(policy.max_retries):
        yield min(delay, policy.max_delay)
        if delay >= policy.max_delay or policy.kind == "fixed":
            return
        delay = delay * policy.multiplier if policy.kind == "exponential" else delay + policy.step


def _target(header: str, name: str, *, to_queue: bool) -> Target:
    binding = BindingPlan(OUT, name, to_queue, "", {"x-match": "all", header: name})
    return Target({header: name}, binding)


def _end(version: Version) -> Plan:
    out = Plan((ExchangePlan(OUT, "headers", arguments={"alternate-exchange": LOST}),))
    return merged([lost_and_found(version), out])


def _one_step(digit: int) -> Plan:
    name, below = step(digit), step(digit - 1) if digit else OUT
    return Plan(
        (ExchangePlan(name, "headers"),),
        (_waiting(name, UNIT_MS << digit, {"x-dead-letter-exchange": below}),),
        (
            BindingPlan(name, name, True, "", {"x-match": "all", f"bk-d{digit}": 1}),
            BindingPlan(name, below, False, "", {"x-match": "all", f"bk-d{digit}": 0}),
        ),
    )


def _waiting(name: str, ms: int, arguments: Mapping[str, str]) -> QueuePlan:
    """A queue that nobody reads: it dead-letters what has waited, and keeps what is not taken."""
    own: dict[str, str | int] = {
        "x-queue-type": "quorum",
        "x-message-ttl": ms,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return QueuePlan(name, own | dict(arguments))


def _bound(exchange: str, queue: str) -> BindingPlan:
    return BindingPlan(exchange, queue, True)


def step(digit: int) -> str:
    """The exchange and the queue of a digit."""
    return f"bk.d.{digit}"


def _slot(ms: int) -> str:
    return f"bk.slot.{ms}"
