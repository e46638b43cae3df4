"""Where a message goes and why: exchange by exchange to its queues and lanes, and where what is given up goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from brokerkit.dialect import Dialect
from brokerkit.errors import TopologyError
from brokerkit.message import NORMAL
from brokerkit.topology import (
    Binding,
    Exchange,
    Group,
    Hop,
    Log,
    Queue,
    Router,
    Topology,
    dead_letter_owners,
    implied,
    lane_of,
    priority_number,
)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A message that somebody might publish.

    Args:
        exchange: The exchange; ``""`` sends straight to the queue that the key names. Default that.
        key: Its routing key. Default ``""``.
        headers: Its headers. Default none.
        priority: 0 to 9, or a name. Default the normal one.
        delay: Seconds. Default none.
    """

    exchange: str = ""
    key: str = ""
    headers: Mapping[str, object] = {}
    priority: int | str = NORMAL
    delay: float = 0.0


class Match(msgspec.Struct, frozen=True):
    """A way that the message takes.

    Args:
        kind: What it leads to: ``queue``, ``log`` or ``exchange``.
        target: Its name.
        reason: The binding that matches, "" where all do.
    """

    kind: str
    target: str
    reason: str


class Step(msgspec.Struct, frozen=True):
    """An exchange on the way.

    Args:
        exchange: Its name, "" for the default exchange.
        type: Its type.
        matches: The ways that the message takes from here.
        others: How many bindings of it do not match.
        alternate: The exchange that gets it because none does, or None.
    """

    exchange: str
    type: str
    matches: tuple[Match, ...]
    others: int
    alternate: str | None


class Destination(msgspec.Struct, frozen=True):
    """Where it arrives.

    Args:
        kind: ``queue``, ``log``, or ``group`` for what a log's group makes of it.
        name: Its name, or the group's key.
        lane: The lane's number, 0 the least urgent; None for a log and a group.
        lanes: How many lanes there are.
        place: What the broker calls the lane's place; "" where no broker is named.
        dead_letters: Where it goes when it is given up, and from there.
        grave: It is a dead-letter queue itself: what is there stays there.
    """

    kind: str
    name: str
    lane: int | None = None
    lanes: int = 1
    place: str = ""
    dead_letters: tuple[str, ...] = ()
    grave: bool = False


class Explanation(msgspec.Struct, frozen=True):
    """The answer.

    Args:
        steps: The exchanges on the way, in order.
        destinations: What it reaches; empty when it is unroutable.
        waits: Where it waits before, if it is delayed and the broker is named.
        broker: The broker, "" where none is named.
    """

    steps: tuple[Step, ...]
    destinations: tuple[Destination, ...]
    waits: tuple[str, ...] = ()
    broker: str = ""

    @property
    def reached(self) -> tuple[str, ...]:
        """The queues and logs."""
        return tuple(each.name for each in self.destinations if each.kind != "group")


def explain(topology: Topology, question: Question, dialect: Dialect | None = None) -> Explanation:
    """Where a message would go.

    Args:
        topology: Valid.
        question: The message.
        dialect: The broker, for its own names. Default none.

    Raises:
        TopologyError: There is no such exchange or queue, or the delay is longer than the broker's.
        ValueError: The priority is none.
    """
    return _Explaining(implied(topology), question, dialect).explanation()


class _Explaining:
    def __init__(self, topology: Topology, question: Question, dialect: Dialect | None) -> None:
        self._topology, self._question, self._dialect = topology, question, dialect
        self._exchanges = {exchange.name: exchange for exchange in topology.exchanges}
        self._queues = {queue.name: queue for queue in topology.queues}
        self._priority = priority_number(question.priority)

    def explanation(self) -> Explanation:
        question, router = self._question, Router(self._topology)
        hops = router.hops(question.exchange, question.key, question.headers)
        reached = router.route(question.exchange, question.key, question.headers)
        return Explanation(
            tuple(map(self._step, hops)),
            tuple(destination for name in reached for destination in self._destinations(name)),
            self._waits(reached),
            self._dialect.capabilities.name if self._dialect is not None else "",
        )

    def _step(self, hop: Hop) -> Step:
        kind = self._exchanges[hop.exchange].type if hop.exchange else "direct"
        matches = dict.fromkeys(Match(edge.kind, edge.target, _reason(kind, edge.binding)) for edge in hop.edges)
        total = sum(binding.exchange == hop.exchange for binding in self._bindings()) if hop.exchange else len(matches)
        return Step(hop.exchange, kind, tuple(matches), total - len(hop.edges) if hop.exchange else 0, hop.alternate)

    def _bindings(self) -> Iterator[Binding]:
        holders: list[Exchange | Queue | Log] = [*self._topology.exchanges, *self._topology.queues]
        for holder in [*holders, *self._topology.logs]:
            yield from holder.bindings

    def _destinations(self, name: str) -> Iterator[Destination]:
        queue = self._queues.get(name)
        if queue is not None:
            level = lane_of(self._priority, queue.lanes)
            place = self._dialect.lane(queue, level) if self._dialect is not None else ""
            grave = name in dead_letter_owners(self._topology)
            yield Destination("queue", name, level, queue.lanes, place, self._dead_letters(queue), grave)
            return
        yield Destination("log", name)
        for group in self._topology.groups:
            if group.log == name:
                yield Destination("group", group.key, dead_letters=self._dead_letters(group))

    def _dead_letters(self, owner: Queue | Group) -> tuple[str, ...]:
        chain: list[str] = []
        following = owner.dead_letter_name
        while following is not None and following not in chain:
            chain.append(following)
            following = self._queues[following].dead_letter_name
        return tuple(chain)

    def _waits(self, reached: tuple[str, ...]) -> tuple[str, ...]:
        delay, dialect = self._question.delay, self._dialect
        if delay <= 0 or dialect is None:
            return ()
        longest = dialect.capabilities.delayed
        if delay > longest:
            broker = dialect.capabilities.name
            raise TopologyError([f"delay: {broker} delays by {longest:.0f} s at most, not by {delay:.0f}"])
        return tuple(dialect.delay(self._topology, reached, delay))


def _reason(kind: str, binding: Binding) -> str:
    if kind == "headers":
        wanted = ", ".join(f"{name}={value!r}" for name, value in (binding.headers or {}).items())
        return f"{binding.match} of {wanted or 'nothing'}"
    return repr(binding.key) if kind in {"direct", "topic"} and binding.exchange else ""
