"""A planner for RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from brokerkit.errors import ApplyUnderWay, PlanOutdated, TopologyError
from brokerkit.planning.ability import Done
from brokerkit.planning.change import Action, Change, Options, Plan, Risk
from brokerkit.topology import Topology
from brokerkit.transports.rabbitmq.asking import NotPermitted
from brokerkit.transports.rabbitmq.compile import compile_topology
from brokerkit.transports.rabbitmq.declaring import not_there, unlike
from brokerkit.transports.rabbitmq.planning.changing import Changing
from brokerkit.transports.rabbitmq.planning.comparing import Work, compare, foreign, of_interest
from brokerkit.transports.rabbitmq.planning.objects import Objects, of_plan
from brokerkit.transports.rabbitmq.planning.observing import Seen, count, observe
from brokerkit.transports.rabbitmq.planning.state import LOCK, Memory, State, check_alive, exclusive
from brokerkit.transports.rabbitmq.policies import Policy, with_policies

if TYPE_CHECKING:
    from brokerkit.transports.rabbitmq.broker import RabbitmqBroker

_BY_ASKING = (
    "bindings cannot be listed over AMQP: those of an earlier apply are taken to be there; "
    "?management=http://user:password@host:15672 in the URL shows all"
)
_FORGETFUL = "this user may not read bk.topology, so nothing is known of earlier applies, and nothing can be applied"


class RabbitmqPlanner:
    """A ``Planner``.

    Args:
        broker: The open connections.
    """

    def __init__(self, broker: Callable[[], RabbitmqBroker]) -> None:
        self._open = broker

    @property
    def _broker(self) -> RabbitmqBroker:
        return self._open()

    async def plan(self, wanted: Topology, options: Options) -> Plan:
        own = await self._wanted(wanted)
        state, notes = await self._remembered()
        seen = await observe(self._broker, of_interest(wanted.name, own, state))
        work = compare(wanted.name, own, state, seen, options)
        return await self._told(wanted, options, work, seen, notes)

    async def drift(self, app: str) -> Plan:
        state, notes = await self._remembered()
        remembered = state.of(app)
        if app not in state.apps:
            raise TopologyError([f"name: nothing of app {app!r} is remembered; apply its topology first"])
        seen = await observe(self._broker, of_interest(app, remembered.done, state))
        work = compare(app, remembered.done, state, seen, Options())
        notes += tuple(f"somebody else has bound {each}" for each in foreign(seen, remembered.done))
        return await self._told(Topology(app), Options(), work, seen, notes)

    @asynccontextmanager
    async def alone(self, seconds: float) -> AsyncIterator[None]:
        broker = self._broker
        try:
            async with asyncio.timeout(seconds):
                await broker.changing.acquire()
        except TimeoutError:
            raise ApplyUnderWay(f"another apply has been under way for {seconds:g} s; wait for it") from None
        try:
            async with exclusive(broker, LOCK, seconds) as channel:
                broker.lock = channel
                yield
        finally:
            broker.lock = None
            broker.changing.release()

    async def carry_out(self, plan: Plan, allow_loss: int, done: Done) -> None:
        broker, app = self._broker, plan.wanted.name
        lock = broker.lock
        assert lock is not None
        check_alive(lock)
        own = await self._wanted(plan.wanted)
        state = await Memory(broker).read()
        seen = await observe(broker, of_interest(app, own, state))
        work = compare(app, own, state, seen, plan.options)
        if not {change.identity for change in work.changes} <= {change.identity for change in plan.changes}:
            raise PlanOutdated("somebody has declared or deleted something meanwhile")
        changing = Changing(broker, app, own, seen, lock, allow_loss=allow_loss, done=done)
        await changing.run(state, work)

    async def _wanted(self, topology: Topology) -> Objects:
        """What an app is to own; what it only verifies is compared.

        Raises:
            TopologyError: That is not as described.
        """
        broker = self._broker
        plan = compile_topology(topology, broker.version)
        policies: tuple[Policy, ...] = ()
        verified = of_plan(plan, (), "verify").named
        if verified:
            seen = await observe(broker, verified.values())
            problems = not_there(each for name, each in verified.items() if name not in seen.there)
            problems += [line for each in seen.there.values() for line in unlike(each)]
            if problems:
                raise TopologyError(problems)
        if broker.management is not None:
            plan, policies = with_policies(plan)
        return of_plan(plan, policies, "own")

    async def _remembered(self) -> tuple[State, tuple[str, ...]]:
        notes = () if self._broker.management is not None else (_BY_ASKING,)
        try:
            return await Memory(self._broker).read(), notes
        except NotPermitted:
            return State(), (*notes, _FORGETFUL)

    # In words

    async def _told(self, wanted: Topology, options: Options, work: Work, seen: Seen, notes: tuple[str, ...]) -> Plan:
        touched = {change: _queue_of(change) for change in work.changes}
        counted = await count(self._broker, [queue for queue in touched.values() if queue])
        changes = [_counted(change, counted.get(queue or "")) if queue else change for change, queue in touched.items()]
        blind = sorted(" ".join(name) for name in seen.blind)
        notes += (f"this user may not compare {', '.join(blind)}; it needs configure on them",) if blind else ()
        return Plan(
            wanted=wanted, broker=f"rabbitmq {self._broker.product}", options=options, changes=tuple(changes),
            leftovers=work.leftovers, notes=notes,
        )  # fmt: skip


def _queue_of(change: Change) -> str | None:
    if change.target is not None:
        return change.target[1] if change.target[0] == "queue" else None
    return change.name if change.kind == "queue" and change.action is not Action.CREATE else None


def _counted(change: Change, found: tuple[int, int] | None) -> Change:
    """The change with what is in the queue that it touches."""
    if found is None:
        return change
    messages, consumers = found
    counted = msgspec.structs.replace(change, messages=messages, consumers=consumers)
    if change.action is not Action.DELETE or change.kind != "queue":
        return counted
    blocked = change.blocked
    if consumers and not blocked:
        blocked = f"{consumers} consumers read it; stop them first"
    loses = 0 if change.note else messages
    return msgspec.structs.replace(counted, blocked=blocked, loses=loses, risk=Risk.LOSS if loses else Risk.LOW)
