"""What brokerkit remembers of what it has applied, in one message of a queue of the virtual host.

AMQP lists nothing, so what is to be removed must be remembered. Whoever reads the message holds it for a moment; a lock
keeps others from finding the queue empty meanwhile.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from brokerkit.errors import ApplyUnderWay, ConnectionLost, TransportError
from brokerkit.ids import new_id
from brokerkit.message import Message
from brokerkit.planning.change import Difference
from brokerkit.transport import Published
from brokerkit.transports.rabbitmq import envelope
from brokerkit.transports.rabbitmq.asking import Asking
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.errors import closed_by, while_running
from brokerkit.transports.rabbitmq.frames import ack_frame, nack_frame
from brokerkit.transports.rabbitmq.outlet import Prepared
from brokerkit.transports.rabbitmq.plan import QueuePlan
from brokerkit.transports.rabbitmq.planning.objects import Objects
from brokerkit.transports.rabbitmq.versions import has_delivery_limit

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

QUEUE = "bk.topology"
LOCK = "bk.topology.lock"
"""Exclusive, held for a whole apply: it ends with the connection of whoever holds it."""
_READING = "bk.topology.reading"
"""Exclusive, held while the message is out of its queue."""

_READ_WITHIN = 5.0
_COMES_BACK_WITHIN = 2.0
"""Seconds: a quorum queue takes back what is handed back a moment later."""
_AGAIN = 0.02
_LOCKED = 405
_WRITE_WITHIN = 10.0


class Swapping(msgspec.Struct, frozen=True):
    """A queue whose place another one takes for a while.

    Args:
        phase: ``out``: what is in it moves to the other one. ``back``: it is there anew, and all moves back.
        wanted: What it is to become.
        differences: What changes.
    """

    phase: Literal["out", "back"]
    wanted: QueuePlan
    differences: tuple[Difference, ...]


class Remembered(msgspec.Struct, frozen=True):
    """What is remembered of one app.

    Args:
        done: What it has.
        begun: What an apply that has not ended was about to give it.
        swaps: Queues that are being replaced, by name.
    """

    done: Objects = Objects()
    begun: Objects = Objects()
    swaps: Mapping[str, Swapping] = {}


class State(msgspec.Struct, frozen=True):
    """What is remembered of all apps of the virtual host.

    Args:
        number: Grows with each change.
        apps: By name.
    """

    number: int = 0
    apps: Mapping[str, Remembered] = {}

    def of(self, app: str) -> Remembered:
        """What is remembered of one."""
        return self.apps.get(app, Remembered())

    def having(self, app: str, remembered: Remembered) -> State:
        """Another state, in which that is remembered of the app."""
        apps = {**self.apps, app: remembered}
        if remembered == Remembered():
            del apps[app]
        return State(self.number + 1, apps)


class _Held:
    """What is out of the queue.

    Attributes:
        state: What it says.
        outlived: A newer one is in the queue: this one may go.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.outlived = False


_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(State).decode


class Memory:
    """Reads and writes the state.

    Args:
        broker: The connections.
    """

    def __init__(self, broker: RabbitmqBroker) -> None:
        self._broker = broker

    async def read(self) -> State:
        """What is remembered; nothing where nobody has ever applied."""
        async with Asking(self._broker.channel) as asking:
            if not await asking.exists("queue", QUEUE):
                return State()
        async with self._held() as held:
            return held.state

    async def write(self, state: State) -> None:
        """Remember."""
        arguments: dict[str, str | int] = {"x-queue-type": "quorum"}
        if has_delivery_limit(self._broker.version):
            arguments["x-delivery-limit"] = -1  # each reading counts as a delivery
        async with Asking(self._broker.channel) as asking:
            fresh = not await asking.exists("queue", QUEUE)
            await asking.declare(QueuePlan(QUEUE, arguments))
        async with self._held(fresh=fresh) as held:
            message = Message(id=new_id(self._broker.clock.now()), name=QUEUE, body=zlib.compress(_encode(state)))
            (answer,) = await self._broker.publisher.publish([Prepared("", QUEUE, message)], deadline=_WRITE_WITHIN)
            if answer is not Published.CONFIRMED:
                raise TransportError(
                    f"the broker did not take what is to be remembered of the topology: {answer.value}"
                )
            held.outlived = True

    @asynccontextmanager
    async def _held(self, *, fresh: bool = False) -> AsyncIterator[_Held]:
        """The state, with the messages that it was read from held until the context is left."""
        async with self._broker.reading, exclusive(self._broker, _READING, _READ_WITHIN):
            channel = await self._broker.channel()
            try:
                states, last = await self._taken(channel, fresh)
                held = _Held(max(states, key=lambda state: state.number, default=State()))
                yield held
                if last:
                    settle = (channel.number, last, True)
                    channel.write(ack_frame(*settle) if held.outlived else nack_frame(*settle, True))
            finally:
                await channel.close()

    async def _taken(self, channel: LinkChannel, fresh: bool) -> tuple[list[State], int]:
        states: list[State] = []
        last = 0
        ends = self._broker.clock.monotonic() + (0.0 if fresh else _COMES_BACK_WITHIN)
        while True:
            try:
                found = await channel.rpc.basic_get(QUEUE)
            except Exception as error:
                raise while_running(error) from error
            tag = getattr(found.delivery, "delivery_tag", None)
            if tag is not None and found.header is not None:
                last = tag
                letter = envelope.decode(found.header.marshal(), bytes(found.body), "", QUEUE)
                states.append(_decode(zlib.decompress(letter.message.body)))
            elif states or self._broker.clock.monotonic() >= ends:
                return states, last
            else:
                await asyncio.sleep(_AGAIN)


@asynccontextmanager
async def exclusive(broker: RabbitmqBroker, name: str, seconds: float) -> AsyncIterator[LinkChannel]:
    """Be the only connection that has a queue of this name; the context gets the channel that it was declared on.

    Raises:
        ApplyUnderWay: Somebody else has had it for so many seconds.
    """
    ends = broker.clock.monotonic() + seconds
    while (channel := await _taken_alone(broker, name)) is None:
        if broker.clock.monotonic() >= ends:
            raise ApplyUnderWay(
                f"another apply, or plan, has been under way on this virtual host for {seconds:g} s; wait for it"
            )
        await asyncio.sleep(_AGAIN)
    try:
        yield channel
    finally:
        if not channel.closed:
            await channel.rpc.queue_delete(name)
        await channel.close()


async def _taken_alone(broker: RabbitmqBroker, name: str) -> LinkChannel | None:
    channel = await broker.channel()
    try:
        await channel.rpc.queue_declare(name, exclusive=True, arguments={"x-queue-type": "classic"})
    except Exception as error:
        closed = closed_by(error)
        if closed is not None and closed.code == _LOCKED:
            return None
        raise while_running(error) from error
    return channel


def check_alive(channel: LinkChannel) -> None:
    """Raise ``ConnectionLost`` when the lock that was taken on a channel is gone."""
    if channel.closed:
        raise ConnectionLost("the connection was lost, and the lock with it; apply again to go on")
