"""Carrying work out, step by step. Whatever step is the last one: what is looked at then says what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from brokerkit.errors import ConfigurationError, DataAtRisk, PlanRefused
from brokerkit.planning.ability import Done
from brokerkit.transports.rabbitmq.asking import Asking
from brokerkit.transports.rabbitmq.channel import LinkChannel
from brokerkit.transports.rabbitmq.plan import ExchangePlan, QueuePlan
from brokerkit.transports.rabbitmq.planning.comparing import Work
from brokerkit.transports.rabbitmq.planning.layout import Drain
from brokerkit.transports.rabbitmq.planning.moving import Mover
from brokerkit.transports.rabbitmq.planning.objects import Objects, binding_name, together
from brokerkit.transports.rabbitmq.planning.observing import Seen, named
from brokerkit.transports.rabbitmq.planning.state import Memory, Remembered, State, Swapping, check_alive
from brokerkit.transports.rabbitmq.planning.swapping import Swapper, UnderWay, ensure, leading_to
from brokerkit.transports.rabbitmq.policies import Policy

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker


class Changing:
    """One carrying out.

    Args:
        broker: The connections.
        app: Whose topology it is.
        wanted: What the app is to own.
        seen: What there was when the work was planned.
        lock: The channel that the lock was taken on.
        allow_loss: The most messages that may be deleted.
        done: Told of each step.
    """

    def __init__(
        self,
        broker: RabbitmqBroker,
        app: str,
        wanted: Objects,
        seen: Seen,
        lock: LinkChannel,
        *,
        allow_loss: int,
        done: Done,
    ) -> None:
        self._broker, self._app, self._wanted, self._seen, self._lock = broker, app, wanted, seen, lock
        self._left, self._done = allow_loss, done
        self._memory = Memory(broker)

    async def run(self, state: State, work: Work) -> None:
        """Do it all."""
        mine = state.of(self._app)
        begun = together([mine.begun, work.done]) if work.changes else work.done
        if not work.changes and mine == Remembered(work.done):
            return
        if work.changes:
            state = await self._remember(state, Remembered(mine.done, begun, mine.swaps))
        async with Asking(self._broker.channel) as asking:
            await self._add(asking, work)
        if not work.swap:
            await ensure(self._broker)
        else:
            state = await self._swap(state, work.swap)
        async with Asking(self._broker.channel) as asking:
            for binding in work.unbind:
                await asking.unbind(binding)
                self._tell(f"unbound {binding_name(binding)}")
            # Else what moves out of a queue would come back to it, and an exchange be in use.
            for binding in work.loosen:
                await asking.unbind(binding)
            for each in work.delete:
                await self._delete(asking, each, work.drain.get(each.name))
        await self._drop_policies(
            [policy for policy in work.drop if policy.queue in {each.name for each in work.delete}]
        )
        await self._remember(state, Remembered(work.done))

    async def _remember(self, state: State, remembered: Remembered) -> State:
        after = state.having(self._app, remembered)
        await self._memory.write(after)
        self._tell("remembered what this app has")
        return after

    def _tell(self, step: str) -> None:
        check_alive(self._lock)
        self._done(step)

    # Adding

    async def _add(self, asking: Asking, work: Work) -> None:
        if self._broker.management is not None:
            # Before their queues: one that is there before its policy would for a moment be without limits.
            await self._broker.management.check(work.put)
            for policy in work.put:
                await self._broker.management.put([policy])
                self._tell(f"set policy {policy.name}")
            gone = {each.name for each in work.delete}
            await self._drop_policies([policy for policy in work.drop if policy.queue not in gone])
        for each in work.create:
            await asking.declare(each)
            self._tell(f"created {' '.join(named(each))}")
        for exchange in work.remake:
            await self._remake(asking, exchange)
        for binding in work.bind:
            await asking.bind(binding)
            self._tell(f"bound {binding_name(binding)}")

    async def _drop_policies(self, policies: Sequence[Policy]) -> None:
        """Of a queue that is deleted not before it is."""
        for policy in policies:
            if self._broker.management is not None:
                await self._broker.management.drop([policy])
                self._tell(f"removed policy {policy.name}")

    async def _remake(self, asking: Asking, exchange: ExchangePlan) -> None:
        """Delete and declare with as little between the two as can be; its bindings follow."""
        await asking.delete_exchange(exchange.name, if_unused=False)
        await asking.declare(exchange)
        for binding in self._wanted.bindings:
            if exchange.name == binding.source or (exchange.name == binding.destination and not binding.to_queue):
                await asking.bind(binding)
        self._tell(f"made exchange {exchange.name} anew")

    # Replacing

    async def _swap(self, state: State, swaps: Mapping[str, Swapping]) -> State:
        """Replace queues, all of them side by side: senders are waited for twice, however many there are."""
        swappers = {queue: self._swapper(state, queue, swap) for queue, swap in swaps.items()}
        under_way = UnderWay(self._broker)
        await under_way.begin()
        out = [queue for queue, swap in swaps.items() if swap.phase == "out"]
        for queue in out:
            state = await self._journal(state, {queue: swaps[queue]})
            await swappers[queue].lead_out()
        if out:
            await under_way.settled()
        for queue in out:
            await swappers[queue].move_out()
            state = await self._journal(state, {queue: msgspec.structs.replace(swaps[queue], phase="back")})
        for swapper in swappers.values():
            await swapper.lead_back()
        await under_way.settled()
        for queue, swapper in swappers.items():
            await swapper.move_back()
            state = await self._journal(state, {queue: None})
        if not any(remembered.swaps for remembered in state.apps.values()):
            await under_way.end()
        return state

    def _swapper(self, state: State, queue: str, swap: Swapping) -> Swapper:
        known = [*self._wanted.bindings, *state.of(self._app).done.bindings, *(self._seen.bindings or {}).values()]
        return Swapper(self._broker, swap.wanted, leading_to(queue, known), self._tell)

    async def _journal(self, state: State, news: Mapping[str, Swapping | None]) -> State:
        mine = state.of(self._app)
        known = {**mine.swaps, **news}
        swaps = {queue: swap for queue, swap in known.items() if swap is not None}
        return await self._remember(state, Remembered(mine.done, mine.begun, swaps))

    # Removing

    async def _delete(self, asking: Asking, each: ExchangePlan | QueuePlan, drain: Drain | None) -> None:
        if isinstance(each, ExchangePlan):
            try:
                await asking.delete_exchange(each.name)
            except ConfigurationError as error:
                raise PlanRefused(
                    f"exchange {each.name} is still bound to by others; have them unbind: {error}"
                ) from error
        else:
            await self._delete_queue(asking, each, drain)
        self._tell(f"deleted {' '.join(named(each))}")

    async def _delete_queue(self, asking: Asking, queue: QueuePlan, drain: Drain | None) -> None:
        found = await asking.count(queue.name)
        if found is None:
            return
        messages, consumers = found
        if consumers:
            raise PlanRefused(f"queue {queue.name} is read by {consumers} consumers; stop them, then apply again")
        if drain is None and messages > self._left:
            raise DataAtRisk(f"{messages} in queue {queue.name}", messages, self._left)
        if drain is None and messages:
            self._left -= messages
            await asking.delete_queue(queue.name)
            return
        await self._delete_empty(asking, queue, drain)

    async def _delete_empty(self, asking: Asking, queue: QueuePlan, drain: Drain | None) -> None:
        """Move what is there, and what comes until the very end, and delete the queue. Where there is nothing to
        move to and something comes in that moment, the queue is declared again and gets it back."""
        exchange, key = drain or Drain("", queue.name)

        async def finished() -> bool:
            return (await asking.count(queue.name) or (0, 1))[0] == 0

        async def delete() -> None:
            await asking.delete_queue(queue.name)

        async with Mover(self._broker, queue.name, exchange, key) as mover:
            if drain is not None:
                await mover.until(finished)
                await mover.deleted(delete)
                return
            await mover.deleted(delete, or_else=lambda: asking.declare(queue))
        if mover.moved:
            raise DataAtRisk(f"{mover.moved} in queue {queue.name}", mover.moved, self._left)
