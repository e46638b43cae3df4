"""Planning for brokers that keep each app's part of the topology and route by their union."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

import msgspec

from brokerkit.errors import DataAtRisk, PlanOutdated, TopologyError
from brokerkit.planning.ability import Done
from brokerkit.planning.change import Action, Change, Options, Plan, Risk
from brokerkit.planning.fragments import Comparison, Descriptor, Key, compare
from brokerkit.topology import Topology, to_store


class Holding(NamedTuple):
    """What is in a queue, group or log, and who reads it.

    Args:
        messages: All of them: ready, delayed and held.
        consumers: How many.
    """

    messages: int = 0
    consumers: int = 0


class Obstacle(NamedTuple):
    """Why an object cannot simply be changed in place.

    Args:
        why: The reason.
        movable: What it holds can be moved: only its consumers are in the way.
    """

    why: str
    movable: bool


class Swap(NamedTuple):
    """One change of what a broker keeps.

    Args:
        expected: What it keeps of each app now; if it does not, nothing may be changed.
        fragment: What it is to keep of this app.
        gone: What is deleted with all that it holds.
        before: What was declared of each object, with what that implies.
        after: What will be.
        allow_loss: The most messages that may be deleted.
    """

    expected: Mapping[str, Topology]
    fragment: Topology
    gone: Collection[Key]
    before: Mapping[Key, Descriptor]
    after: Mapping[Key, Descriptor]
    allow_loss: int

    @property
    def fragments(self) -> dict[str, Topology]:
        """What is kept of each app from then on; an app that declares nothing is forgotten."""
        name = self.fragment.name
        kept = {**self.expected, name: self.fragment}
        return {app: each for app, each in kept.items() if app != name or each != Topology(name)}

    def check(self, held: Mapping[Key, Holding]) -> None:
        """Compare what is to be deleted, at the very moment, with what may be.

        Raises:
            PlanOutdated: Somebody has begun to read it.
            DataAtRisk: It holds more messages than may be lost.
        """
        read = [" ".join(key) for key, each in held.items() if each.consumers]
        if read:
            raise PlanOutdated(f"somebody has begun to read {', '.join(read)}")
        lost = sum(each.messages for each in held.values())
        if lost > self.allow_loss:
            where = ", ".join(f"{each.messages} in {' '.join(key)}" for key, each in held.items() if each.messages)
            raise DataAtRisk(where, lost, self.allow_loss)


class Keeper(Protocol):
    """The broker's side."""

    @property
    def name(self) -> str:
        """The broker and its version."""
        ...

    async def fragments(self) -> Mapping[str, Topology]:
        """What it keeps, by app."""
        ...

    async def holding(self, key: Key) -> Holding:
        """What an object holds; nothing where it is not there."""
        ...

    async def damaged(self) -> Collection[Key]:
        """What is declared, and not there any more."""
        ...

    async def leaving(self) -> Collection[Key]:
        """What is no longer declared, and still there because somebody was interrupted."""
        ...

    def obstacles(self, before: Mapping[Key, Descriptor], after: Mapping[Key, Descriptor]) -> Mapping[Key, Obstacle]:
        """What cannot simply be changed in place.

        Args:
            before: What all apps declare now, with what that implies.
            after: What they will.
        """
        ...

    def alone(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """As ``Planner.alone``."""
        ...

    async def swap(self, swap: Swap, done: Done) -> None:
        """Carry out. Raises ``PlanOutdated`` and ``DataAtRisk``."""
        ...


class StoredPlanner:
    """A ``Planner``.

    Args:
        keeper: Of the broker.
    """

    def __init__(self, keeper: Callable[[], Keeper]) -> None:
        self._keeper = keeper

    async def plan(self, wanted: Topology, options: Options) -> Plan:
        keeper = self._keeper()
        fragments = await keeper.fragments()
        to_store(wanted, fragments.values())
        found = compare(fragments, wanted, options)
        damaged, leaving = await keeper.damaged(), await keeper.leaving()
        changes = [*_missing(found, damaged), *found.changes, *_left(found, leaving)]
        obstacles = keeper.obstacles(found.before, found.after)
        counted = [await _counted(keeper, found, change, obstacles) for change in changes]
        return Plan(
            wanted=wanted, broker=keeper.name, options=options, changes=tuple(counted), leftovers=found.leftovers
        )

    async def drift(self, app: str) -> Plan:
        fragment = (await self._keeper().fragments()).get(app)
        if fragment is None:
            raise TopologyError([f"name: nothing of app {app!r} is remembered; apply its topology first"])
        return await self.plan(fragment, Options())

    def alone(self, seconds: float) -> AbstractAsyncContextManager[None]:
        return self._keeper().alone(seconds)

    async def carry_out(self, plan: Plan, allow_loss: int, done: Done) -> None:
        keeper = self._keeper()
        fragments = await keeper.fragments()
        found = compare(fragments, plan.wanted, plan.options)
        # What a plan calls a replacement is a change like any other here.
        known = {change.identity[1:] for change in plan.changes}
        if any(change.identity[1:] not in known for change in found.changes):
            raise PlanOutdated("somebody has declared something meanwhile")
        leaving = [key for key in await keeper.leaving() if key not in found.after]
        gone = dict.fromkeys([*found.gone, *leaving])
        await keeper.swap(Swap(fragments, found.fragment, [*gone], found.before, found.after, allow_loss), done)


async def _counted(keeper: Keeper, found: Comparison, change: Change, obstacles: Mapping[Key, Obstacle]) -> Change:
    """The change with what is in the object that it touches."""
    key: Key = change.target or (change.kind, change.name)
    if key not in found.before and change.action is not Action.DELETE:
        return change
    held = await keeper.holding(key)
    counted = msgspec.structs.replace(change, messages=held.messages, consumers=held.consumers)
    if change.action is Action.DELETE:
        return _deleting(counted)
    if change.action is Action.UPDATE:
        return _replacing(counted, obstacles[key]) if key in obstacles else _with_note(counted)
    return counted


def _with_note(change: Change) -> Change:
    """The change with what is to be known where the number of lanes grows under the workers' hands."""
    if not change.consumers or all(each.attribute != "priorities" for each in change.differences):
        return change
    return msgspec.structs.replace(change, note="workers that run now read the new lanes after a restart")


def _deleting(change: Change) -> Change:
    blocked = change.blocked
    if change.consumers and not blocked:
        blocked = f"{change.consumers} consumers read it; stop them first"
    risk = Risk.LOSS if change.messages else Risk.LOW
    return msgspec.structs.replace(change, blocked=blocked, loses=change.messages or 0, risk=risk)


def _replacing(change: Change, obstacle: Obstacle) -> Change:
    action, note, blocked = Action.REPLACE, "it is empty, so a new one takes its place", ""
    if obstacle.movable:
        action, note = Action.UPDATE, "what is in the lanes that it loses moves to its most urgent one"
    if change.consumers:
        blocked = f"{obstacle.why}: {change.consumers} consumers read it; stop them first"
    elif change.messages and not obstacle.movable:
        blocked = f"{obstacle.why}, and it holds {change.messages} messages; consume them first"
    return msgspec.structs.replace(change, action=action, blocked=blocked, note=note, risk=Risk.HIGH)


def _missing(found: Comparison, damaged: Collection[Key]) -> list[Change]:
    note = "it is declared, and somebody has deleted it"
    return [
        Change(action=Action.CREATE, kind=kind, name=name, note=note)
        for kind, name in damaged
        if (kind, name) in found.before and (kind, name) in found.after
    ]


def _left(found: Comparison, leaving: Collection[Key]) -> list[Change]:
    note = "an earlier apply has begun to delete it"
    return [
        Change(action=Action.DELETE, kind=kind, name=name, note=note)
        for kind, name in leaving
        if (kind, name) not in found.before and (kind, name) not in found.after
    ]
