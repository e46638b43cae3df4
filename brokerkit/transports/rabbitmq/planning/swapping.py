"""Replacing a queue side by side: another one stands in while it is made anew, and gives back what it has got.

A queue cannot be renamed, nor its arguments changed. So what leads to it is led to a stand-in, what is in it moves
there, it is deleted and declared as wanted, and all goes the way back. Workers follow: they find two markers, queues
that hold nothing. Whoever leaves a queue consumes the marker of its direction until it has settled what it took, so
that the number of consumers tells when nobody holds anything any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from brokerkit.abilities import Signal
from brokerkit.errors import PlanRefused, TransportError
from brokerkit.ids import new_id
from brokerkit.message import Message
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq import ladder, signals, standins
from brokerkit.transports.rabbitmq.asking import Asking
from brokerkit.transports.rabbitmq.outlet import Prepared
from brokerkit.transports.rabbitmq.plan import BindingPlan, QueuePlan
from brokerkit.transports.rabbitmq.planning.moving import Mover

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

PATIENCE = 60.0
"""Seconds that those who read a queue get to leave it, counted anew whenever something moves."""
_TELL_EVERY = 1.0

Tell = Callable[[str], None]


class Swapper:
    """Replaces one queue.

    Args:
        broker: The connections.
        wanted: What it is to become.
        bindings: What leads to it, all that is known.
        tell: Told of each step.
    """

    def __init__(self, broker: RabbitmqBroker, wanted: QueuePlan, bindings: Sequence[BindingPlan], tell: Tell) -> None:
        self._broker, self._wanted, self._tell = broker, wanted, tell
        self._name = wanted.name
        self._places = standins.of(wanted.name)
        self._bindings = bindings

    async def lead_out(self) -> None:
        """Have the stand-in get what the queue would."""
        name, places = self._name, self._places
        async with Asking(self._broker.channel) as asking:
            if not await asking.exists("queue", places.standin):
                await asking.declare(QueuePlan(places.standin, self._wanted.arguments))
            self._tell(f"declared {places.standin}, which stands in for queue {name}")
            await asking.declare(QueuePlan(places.out, {"x-queue-type": "classic"}))
            there = await asking.exists("queue", name)
            await self._lead(asking, places.standin, name if there else None)
        await self._call()
        self._tell(f"led to {places.standin} what leads to queue {name}")

    async def move_out(self) -> None:
        """Move what is in the queue, and delete it."""
        async with Asking(self._broker.channel) as asking:
            there = await asking.exists("queue", self._name)
        if there:
            await self._empty(self._name, self._places.standin, self._places.out)
            self._tell(f"moved what was in queue {self._name}, and deleted it")

    async def lead_back(self) -> None:
        """Have the queue, as wanted, get again what is for it."""
        name, places = self._name, self._places
        async with Asking(self._broker.channel) as asking:
            await asking.declare(msgspec.structs.replace(self._wanted, mode="own"))
            self._tell(f"declared queue {name} anew")
            await asking.declare(QueuePlan(places.back, {"x-queue-type": "classic"}))
            there = await asking.exists("queue", places.standin)
            await self._lead(asking, name, places.standin if there else None)
        await self._call()
        self._tell(f"led back to queue {name} what led to {places.standin}")

    async def move_back(self) -> None:
        """Move back what the stand-in holds, and delete it; then the markers, first the one that leads there."""
        places = self._places
        async with Asking(self._broker.channel) as asking:
            if await asking.exists("queue", places.standin):
                await self._empty(places.standin, self._name, places.back)
                self._tell(f"moved back what was in {places.standin}, and deleted it")
            await asking.delete_queue(places.out)
            await asking.delete_queue(places.back)
        await self._call()

    async def _lead(self, asking: Asking, to: str, away_from: str | None) -> None:
        """Bind one, and at once unbind the other: what is published between the two goes to both, and runs twice."""
        delays = await asking.exists("exchange", ladder.OUT)
        more = (ladder.to_queue(self._name).binding,) if delays else ()
        for binding in (*self._bindings, *more):
            await asking.bind(_leading_to(binding, to))
            if away_from is not None:
                await asking.unbind(_leading_to(binding, away_from))

    async def _empty(self, queue: str, to: str, marker: str) -> None:
        """Move all that is in a queue once everybody has left it, and delete it."""
        async with Mover(self._broker, queue, "", to) as mover, Asking(self._broker.channel) as asking:
            patience = _Patience(queue)

            async def finished() -> bool:
                await self._call_now_and_then(patience)
                first = await asking.count(queue)
                leaving = await asking.count(marker)
                then = await asking.count(queue)
                consumers = (first or (0, 1))[1] - 1
                left = (leaving or (0, 0))[1]
                patience.look(mover.moved, consumers, left)
                return consumers == 0 and left == 0 and (then or (0, 0))[0] == 0

            await mover.until(finished)
            await mover.deleted(lambda: asking.delete_queue(queue))

    async def _call_now_and_then(self, patience: _Patience) -> None:
        if patience.is_time_to_tell():
            await self._call()

    async def _call(self) -> None:
        """Have workers look where they are to read. They look by themselves, but not at once."""
        await signals.send(self._broker, Signal(standins.SIGNAL, self._name, 0))


class _Patience:
    """Waits for others, for as long as something changes."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._last: tuple[int, int, int] | None = None
        self._since = self._told = 0.0

    def is_time_to_tell(self) -> bool:
        now = time.monotonic()
        due = now - self._told >= _TELL_EVERY
        if due:
            self._told = now
        return due

    def look(self, moved: int, consumers: int, leaving: int) -> None:
        now = time.monotonic()
        if (moved, consumers, leaving) != self._last:
            self._last, self._since = (moved, consumers, leaving), now
        elif (consumers or leaving) and now - self._since > PATIENCE:
            raise PlanRefused(
                f"{consumers or leaving} consumers of queue {self._queue} have not left it for {PATIENCE:g} s: they "
                f"run long tasks, or are not brokerkit's; stop them, then apply again to go on. Nothing is lost so far"
            )


def _leading_to(binding: BindingPlan, queue: str) -> BindingPlan:
    return msgspec.structs.replace(binding, destination=queue)


def leading_to(queue: str, known: Iterable[BindingPlan]) -> list[BindingPlan]:
    """What leads to a queue, of all that is known; not from the delay ladder, which is looked after by itself."""
    standin = standins.of(queue).standin
    found = {
        _leading_to(each, queue).identity: _leading_to(each, queue)
        for each in known
        if each.to_queue and each.destination in (queue, standin) and each.source != ladder.OUT
    }
    return list(found.values())


class UnderWay:
    """Tells senders that queues are being replaced, until none is any more.

    Args:
        broker: The connections.
    """

    def __init__(self, broker: RabbitmqBroker) -> None:
        self._broker = broker
        self._wait = standins.SETTLED

    async def begin(self) -> None:
        """Say so."""
        async with Asking(self._broker.channel) as asking:
            found = await asking.count(standins.UNDER_WAY)
        if await ensure(self._broker):  # senders have not found it either, and look for it less often
            self._wait = standins.ABSENT + standins.SETTLED
        if not found or not found[0]:
            message = Message(id=new_id(self._broker.clock.now()), name=standins.UNDER_WAY, body=b"")
            answers = await self._broker.publisher.publish([Prepared("", standins.UNDER_WAY, message)], deadline=10.0)
            if answers[0] is not Published.CONFIRMED:
                raise TransportError(f"the broker did not take a message for {standins.UNDER_WAY}: {answers[0].value}")

    async def settled(self) -> None:
        """Wait until nothing is on its way any more to where nobody is told to send."""
        await asyncio.sleep(self._wait)
        self._wait = standins.SETTLED

    async def end(self) -> None:
        """None is any more."""
        async with Asking(self._broker.channel) as asking:
            await asking.purge(standins.UNDER_WAY)


async def ensure(broker: RabbitmqBroker) -> bool:
    """Have the queue there that senders look into; true if it had to be declared."""
    async with Asking(broker.channel) as asking:
        if await asking.exists("queue", standins.UNDER_WAY):
            return False
        await asking.declare(standins.DECLARED)
    return True
