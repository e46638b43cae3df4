"""Carrying a plan out: alone, checked once more, and finished by looking again."""

from __future__ import annotations

import msgspec

from brokerkit.errors import DataAtRisk, MissingCapability, PlanOutdated, PlanRefused
from brokerkit.planning.ability import Done, Planner, Plans, nobody
from brokerkit.planning.change import Options, Plan
from brokerkit.topology import Topology, validate
from brokerkit.transport import Transport

WAIT = 10.0
"""Seconds to wait for another apply."""


AS_IT_IS = Options()


class Applied(msgspec.Struct, frozen=True):
    """What an apply has done.

    Args:
        plan: What it has carried out.
        left: What a plan finds afterwards: nothing, unless somebody else changes the broker.
    """

    plan: Plan
    left: Plan


async def plan(transport: Transport, wanted: Topology, options: Options = AS_IT_IS) -> Plan:
    """What a topology would change at a broker.

    Args:
        transport: Entered.
        wanted: The topology of an app, by whose name it is remembered.
        options: How.

    Raises:
        TopologyError: It contradicts itself, or the broker refuses it.
        TopologyConflict: Another app declares an object with other attributes.
        MissingCapability: The broker cannot do what is declared, or not plan.
    """
    validate(wanted)
    return await planner_of(transport).plan(wanted, options)


async def drift(transport: Transport, app: str) -> Plan:
    """What has been changed at a broker since the last apply of an app, as the plan that would change it back.

    Raises:
        TopologyError: Nothing of this app is remembered.
        MissingCapability: The broker cannot plan.
    """
    return await planner_of(transport).drift(app)


async def apply(
    transport: Transport, wanted: Plan, *, allow_loss: int = 0, done: Done = nobody, wait: float = WAIT
) -> Applied:
    """Carry out a plan, if nothing else has to be done by now. What is done already, by an earlier apply that was
    interrupted or by somebody else, is not done again.

    Args:
        transport: Entered.
        wanted: The plan, made now or some time ago.
        allow_loss: The most messages that may be deleted. Default none.
        done: Told of each step.
        wait: Seconds to wait for another apply. Default 10.

    Raises:
        PlanOutdated: The broker has changed so that something else would have to be done.
        PlanRefused: A change is refused as things are; each says what to do.
        DataAtRisk: It would delete more messages.
        ApplyUnderWay: Somebody else changes the topology.
    """
    planner = planner_of(transport)
    async with planner.alone(wait):
        current = await planner.plan(wanted.wanted, wanted.options)
        if news := _news(wanted, current):
            raise PlanOutdated(news)
        refuse(current, allow_loss)
        await planner.carry_out(current, allow_loss, done)
        return Applied(current, await planner.plan(wanted.wanted, wanted.options))


def refuse(wanted: Plan, allow_loss: int) -> None:
    """Raise what speaks against a plan.

    Raises:
        PlanRefused: A change is refused as things are.
        DataAtRisk: It would delete more messages than that.
    """
    blocked = [f"{change.action.value} {change.kind} {change.name}: {change.blocked}" for change in wanted.blocked]
    if blocked:
        raise PlanRefused("; ".join(blocked))
    if wanted.loses > allow_loss:
        held = ", ".join(f"{each.loses} in {each.kind} {each.name}" for each in wanted.changes if each.loses)
        raise DataAtRisk(held, wanted.loses, allow_loss)


def planner_of(transport: Transport) -> Planner:
    """What plans the topology of a broker. Raises ``MissingCapability`` for one without."""
    if not isinstance(transport, Plans):
        raise MissingCapability(f"{transport.capabilities.name} cannot plan; RabbitMQ, Redis, SQLite and memory can")
    return transport.planner


def _news(wanted: Plan, current: Plan) -> str:
    """What would be done now that had not been planned, in words; "" for nothing."""
    if wanted.broker.partition(" ")[0] != current.broker.partition(" ")[0]:
        return f"it was made for {wanted.broker}, and this is {current.broker}"
    known = {change.identity for change in wanted.changes}
    new = [change for change in current.changes if change.identity not in known]
    return ", ".join(f"{each.action.value} {each.kind} {each.name}" for each in new)
