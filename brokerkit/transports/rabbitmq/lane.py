"""One lane of one source: a channel of its own, its consumer, what was pushed and what is held."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.delivery import Delivery, Lane
from brokerkit.errors import BrokerkitError
from brokerkit.transports.rabbitmq import standins
from brokerkit.transports.rabbitmq.acks import Acks
from brokerkit.transports.rabbitmq.arriving import Pushed, delivery_of
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.credit import Credit, Move, Step
from brokerkit.transports.rabbitmq.errors import NOT_FOUND, closed_by, while_running
from brokerkit.transports.rabbitmq.frames import ack_frame, dead_letter_frame, requeue_frame
from brokerkit.transports.rabbitmq.lingering import Lingering
from brokerkit.transports.rabbitmq.plan import SourcePlan
from brokerkit.transports.rabbitmq.remaining import Remaining

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_log = logging.getLogger("brokerkit.rabbitmq")

_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds before a channel that failed is opened again; they double while it fails at once."""
_CLOSE_WITHIN = 5.0
_MOVED = b"bk-moved"


class Left(NamedTuple):
    """A queue that is read no longer.

    Args:
        newest: The last delivery tag that may be one of its.
        tag: Our consumer of the marker.
    """

    newest: int
    tag: str


class LaneConsumer:
    """Consumes one lane, and goes on after every loss. A reader's ``Sink``.

    Args:
        broker: The connections.
        source: What the lane belongs to.
        level: Which lane of it; 0 is the least urgent.
        wake: Called when something was pushed, or may be taken now.
        hand_back: Releases deliveries with a start mark, which takes more than a frame.
    """

    def __init__(
        self,
        broker: RabbitmqBroker,
        source: SourcePlan,
        level: int,
        wake: Callable[[], None],
        hand_back: Callable[[Sequence[Delivery]], Awaitable[None]],
    ) -> None:
        self.lane = Lane(source.key, level)
        self.source = source
        self.queue = self.reading = source.lanes[level]
        self.epoch = 0
        self.held: dict[int, Delivery] = {}
        self.ended = False
        self._broker, self._wake, self._hand_back = broker, wake, hand_back
        self._credit = Credit(broker.prefetch, several=len(source.lanes) > 1, fixed=source.single_active)
        self._several = len(source.lanes) > 1
        self._remaining = Remaining()
        self._ask_at: float | None = None
        self._acks, self._lingering = Acks(), Lingering()
        self._waiting: deque[Pushed] = deque()
        self._channel: LinkChannel | None = None
        self._consumers = 0
        self._newest = self._before = 0
        self._asked = self._asks = 0
        self._receiving = False
        self._changed, self._roused = asyncio.Event(), asyncio.Event()
        self._paused = self._closing = self._cancelled = False
        self._looking = False
        self._left: Left | None = None

    # What the reader tells

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        self._newest = tag
        self._acks.delivered(tag)
        self._credit.delivered()
        if self._several and self._credit.full:
            self._remaining.unknown()
        self._waiting.append(Pushed(tag, redelivered, exchange, routing_key, header, body))

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None: ...

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None: ...

    def cancelled(self, consumer_tag: str) -> None:
        _log.warning("the broker ended the consumer of queue %s: was it deleted, or a task too long?", self.queue)
        self._cancelled = True
        self._changed.set()

    def fed(self) -> None:
        self._wake()
        if not self._receiving:
            self._changed.set()

    # What the subscription asks

    @property
    def waiting(self) -> int:
        """How many were pushed and are not taken."""
        return len(self._waiting)

    def more(self) -> float:
        """Seconds for which the less urgent lanes should wait for what the broker may have beyond what waits here."""
        return self._remaining.wait(self._broker.clock.monotonic()) if self._several else 0.0

    def inquire(self) -> None:
        """Find out whether the broker has more; whoever takes is woken then."""
        if self._ask_at is None:
            self._ask_at = self._remaining.ask_at(self._broker.clock.monotonic())
            self._changed.set()

    @property
    def unsettled(self) -> int:
        """How many were pushed and are not settled."""
        return len(self._acks)

    def ask(self, count: int) -> None:
        """So many are asked for from now on."""
        self._asked, self._receiving = count, count > 0
        if not count:
            return
        self._asks += 1
        self._credit.asked()
        if self._waiting and self._credit.consuming:
            return
        move = self._credit.decide(count - len(self._waiting), 0, self._broker.clock.monotonic())
        if move.step is not Step.NOTHING or move.again is not None:
            self._changed.set()

    def answered(self) -> None:
        """Nobody waits any more; what was asked for last is still wanted if there is none of it yet."""
        self._receiving = False
        if self._waiting:
            self._changed.set()

    def take(self, count: int, now: float) -> list[Delivery]:
        """What was pushed, oldest first, at most so many."""
        found: list[Delivery] = []
        waiting = self._waiting
        while waiting and len(found) < count:
            found.append(self._hold(waiting.popleft(), now))
        self._asked = max(self._asked - len(found), 0)
        return found

    def _hold(self, pushed: Pushed, now: float) -> Delivery:
        delivery = delivery_of(pushed, self, self._broker.is_grave(self.source.key), now)
        self.held[pushed.tag] = delivery
        return delivery

    # Settling

    def let_go(self, delivery: Delivery) -> bool:
        """Forget a delivery that is about to be settled; False if it is not held."""
        tag = delivery.token.tag
        if self.held.get(tag) is not delivery:
            return False
        del self.held[tag]
        return True

    def hold(self, delivery: Delivery) -> bool:
        """Settling it did not work; False, and it is lost, unless it is still ours."""
        if delivery.token.epoch == self.epoch and delivery.token.tag in self._acks:
            self.held[delivery.token.tag] = delivery
            return True
        delivery.lose()
        return False

    def ack(self, epoch: int, tags: Sequence[int]) -> bool:
        """Done with these; False if that channel is gone."""
        return self._settle(epoch, tags, ack_frame)

    def requeue(self, epoch: int, tags: Sequence[int]) -> bool:
        """Back into the queue with these; False if that channel is gone."""
        return self._settle(epoch, tags, requeue_frame)

    def reject(self, epoch: int, tags: Sequence[int]) -> bool:
        """Let the broker dead-letter these; False if that channel is gone."""
        return self._settle(epoch, tags, dead_letter_frame)

    def _settle(self, epoch: int, tags: Sequence[int], frame: Callable[[int, int, bool], bytes]) -> bool:
        channel = self._channel
        if epoch != self.epoch or channel is None:
            return False
        frames = self._acks.settle(tags)
        self._lingering.settled(len(frames), self._broker.clock.monotonic())
        if self._left is not None:
            self._changed.set()
        filled = self._credit.settled(sum(tag > self._before for tag in tags))
        if filled:
            self._remaining.unknown()
        return channel.write(b"".join([frame(channel.number, *each) for each in frames]))

    # Pausing and ending

    def pause(self) -> None:
        """Stop intake, and hand back what waits."""
        self._paused = True
        self._changed.set()

    def resume(self) -> None:
        """Begin again when asked."""
        self._paused = False

    def look(self) -> None:
        """Another queue may stand in for ours, or does so no longer."""
        self._looking = True
        self._changed.set()

    def connected(self) -> None:
        """There is a connection again."""
        self._changed.set()
        self._roused.set()

    def close(self) -> None:
        """Have ``run`` hand back what is held and end."""
        self._closing = True
        self._changed.set()
        self._roused.set()

    # The one task of the lane

    async def run(self) -> None:
        """Consume until closed."""
        pause = _PAUSE
        while not self._closing:
            started = self._broker.clock.monotonic()
            try:
                await self._serve()
            except BrokerkitError as error:  # also a conflict: the queues of others go on
                if not self._closing:
                    _log.warning("queue %s is not consumed for now: %s", self.queue, error)
            self._remaining.out_of_reach()
            self._wake()
            lived = self._broker.clock.monotonic() - started
            pause = _PAUSE if lived > _LONGEST_PAUSE else pause
            await self._rest(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        self.ended = True

    async def _rest(self, seconds: float) -> None:
        """Whoever asks meanwhile does not shorten it."""
        self._roused.clear()
        if not self._closing:
            try:
                async with asyncio.timeout(seconds):
                    await self._roused.wait()
            except TimeoutError:
                pass

    async def _serve(self) -> None:
        """Consume on one channel until it ends."""
        channel = await self._open()
        if channel is None:
            return
        try:
            while not channel.closed:
                await self._live(channel)
                if self._closing:
                    await self._leave(channel)
        except Exception as error:
            if (closed := closed_by(error)) and closed.code == NOT_FOUND and not self._closing:
                if self.reading != self.queue:
                    return  # what stood in for our queue has gone: it is there again
                _log.error("queue %s is gone: %s; declaring it again", self.queue, closed)
                await self._broker.heal(self.source.key)
                return
            raise while_running(error) from error
        finally:
            self._dropped(None)
            await channel.close()

    async def _open(self) -> LinkChannel | None:
        """A new channel, as soon as there is a connection; None when closed first."""
        while (link := self._broker.consuming.current) is None:
            if self._closing:
                return None
            self._changed.clear()
            await self._change(_LONGEST_PAUSE)
        self.reading = await self._broker.standing_in(self.queue)
        channel = await link.channel(self)
        self._cancelled = self._looking = False
        self._channel = channel
        self._remaining.unknown()
        channel.on_closed(self._dropped)
        return channel

    async def _live(self, channel: LinkChannel) -> None:
        """Take one step, or wait until there may be one to take."""
        self._changed.clear()
        if self._closing:
            return
        if self._cancelled:
            await channel.close()
            return
        if self._looking or self._left is not None:
            await self._follow(channel)
        move = self._decide()
        match move.step:
            case Step.START:
                await self._start(channel, move.prefetch)
            case Step.RAISE:
                await self._cancel(channel)
                self._credit.raised(self._broker.clock.monotonic())
            case Step.GIVE_BACK:
                await self._give_back(channel)
            case Step.NOTHING:
                await self._idle(channel, move.again)

    async def _idle(self, channel: LinkChannel, again: float | None) -> None:
        """Wait for a change, but look again after so many seconds. Meanwhile answer what was asked of us, and now and
        then ask whether our consumer lives."""
        heartbeat = self._broker.server.options.heartbeat
        if self._ask_at is None:
            if not await self._change(min(again or heartbeat, heartbeat)) and again is None:
                await self._check(channel)
        elif (left := self._ask_at - self._broker.clock.monotonic()) > 0:
            await self._change(left)
        else:
            await self._inquire(channel)

    async def _inquire(self, channel: LinkChannel) -> None:
        """Ask whether the broker has more."""
        after = self._remaining.asked_after
        found = await channel.rpc.queue_declare(self.reading, passive=True)
        self._remaining.told(found.message_count or 0, after, self._broker.clock.monotonic())
        self._ask_at = None
        self._wake()

    async def _follow(self, channel: LinkChannel) -> None:
        """Read where our queue is read now. Until what the other one has given us is settled, a consumer of the marker
        says so: whoever moves its messages waits for that."""
        if self._looking:
            self._looking = False
            place = await self._broker.standing_in(self.queue)
            if place != self.reading:
                await self._leave_for(channel, place)
        if self._left is not None and not self._acks.any_until(self._left.newest):
            tag, self._left = self._left.tag, None
            await channel.rpc.basic_cancel(tag)

    async def _leave_for(self, channel: LinkChannel, place: str) -> None:
        _log.info("queue %s is read at %s from now on", self.queue, place)
        places = standins.of(self.queue)
        tag = f"{self._tag()}.left"
        try:
            await channel.consume(places.out if place == places.standin else places.back, tag)
        except Exception as error:
            if (closed := closed_by(error)) and closed.code == NOT_FOUND:
                return  # it is over already; the next channel begins where it is to be read then
            raise
        if self._left is not None:  # it has been left before all of it was settled: the newer marker covers both
            await channel.rpc.basic_cancel(self._left.tag)
        if self._credit.consuming:
            await self._cancel(channel)
        self.reading = place
        self._left = Left(self._newest, tag)

    async def _change(self, seconds: float) -> bool:
        """Wait for a change; False when there was none for so long."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _decide(self) -> Move:
        waiting = len(self._waiting)
        if self._paused:
            # Whoever consumes alone keeps its turn: nobody else could take what is waiting here.
            stop = not self.source.single_active and (waiting or self._credit.consuming)
            return Move(Step.GIVE_BACK if stop else Step.NOTHING)
        return self._credit.decide(self._asked - waiting, waiting, self._broker.clock.monotonic())

    async def _start(self, channel: LinkChannel, prefetch: int) -> None:
        self._remaining.unknown()
        if self._several:
            await self._inquire(channel)
        await channel.rpc.basic_qos(prefetch_count=prefetch)
        self._consumers += 1
        self._before = self._newest
        self._credit.started(prefetch)
        await channel.consume(self.reading, self._tag())

    def _tag(self) -> str:
        return f"bk.{self.epoch}.{self._consumers}"

    async def _cancel(self, channel: LinkChannel) -> None:
        await channel.rpc.basic_cancel(self._tag())
        self._credit.stopped()

    async def _give_back(self, channel: LinkChannel) -> None:
        asks = self._asks
        if self._credit.consuming:
            await self._cancel(channel)
        if self._asks != asks and not self._paused:
            return  # somebody has come for them meanwhile, and the decision is another one now
        if not self._receiving:
            self._asked = 0
        self.requeue(self.epoch, await self._unread())
        if not self._paused:
            self._credit.gave_back(self._broker.clock.monotonic())

    async def _unread(self) -> list[int]:
        """The tags of what waits, which is forgotten; copies that carry a start mark are released with their mark taken
        back, else it would count as a run that never was."""
        waiting, self._waiting = self._waiting, deque()
        now = self._broker.clock.now()
        marked = [self._hold(each, now) for each in waiting if _MOVED in each.header]
        await self._hand_back([each for each in marked if each.marked])
        kept = [each.token.tag for each in marked if not each.marked and self.let_go(each)]
        return [*kept, *(each.tag for each in waiting if _MOVED not in each.header)]

    async def _check(self, channel: LinkChannel) -> None:
        """Whether the broker still has our consumer: connections have outlived theirs."""
        found = await channel.rpc.queue_declare(self.reading, passive=True)
        if self._credit.consuming and not found.consumer_count:
            _log.error("queue %s has no consumer, though we consume it; opening the channel again", self.reading)
            await channel.close()

    async def _leave(self, channel: LinkChannel) -> None:
        """Hand back what is held. The broker counts what a closed channel held as delivered, but not what is nacked;
        only where order matters more, everything goes back in one step."""
        if not self.source.single_active:
            if self._credit.consuming:
                await self._cancel(channel)
            await self._hand_back([each for each in self.held.values() if each.marked])
            unread = await self._unread()
            self.requeue(self.epoch, [*self.held, *unread])
        if self.source.kind == "quorum":
            await self._broker.clock.sleep(self._lingering.seconds(self._broker.clock.monotonic()))
        await channel.close(_CLOSE_WITHIN)

    def _dropped(self, error: Exception | None) -> None:
        """The channel is gone, and with it all it delivered."""
        if self._channel is None:
            return
        self._channel = self._left = None
        self.epoch += 1
        self._newest = self._before = 0
        self._acks, self._lingering = Acks(), Lingering()
        self._credit.stopped()
        self._waiting.clear()
        self._remaining.unknown()
        self._ask_at = None
        held, self.held = self.held, {}
        for delivery in held.values():
            delivery.lose()
        self._changed.set()
        self._wake()
