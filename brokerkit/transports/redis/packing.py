"""Messages and where they go, as keys and arguments of the scripts that publish."""

from __future__ import annotations

import math
from collections.abc import Sequence

from brokerkit.message import Outgoing
from brokerkit.transport import INBOX_PREFIX
from brokerkit.transports.redis import keys as naming
from brokerkit.transports.redis.compile import LogPlan, Target
from brokerkit.transports.redis.entries import encode
from brokerkit.transports.redis.link import Argument
from brokerkit.transports.redis.reports import RecordWriter
from brokerkit.transports.redis.routes import Place, Routes

_NO_LIMIT = -1


def is_reply(outgoing: Outgoing) -> bool:
    """Whether it goes to an inbox."""
    return not outgoing.exchange and outgoing.routing_key.startswith(INBOX_PREFIX)


def milliseconds(at: float | None) -> int:
    """The first millisecond that is not before a time; 0 for none."""
    return 0 if at is None else math.ceil(at * 1000)


class InboxPlan:
    """Where the replies to one process wait. Its address says it: it consists of the channel of that process and a part
    of its own.

    Args:
        address: The inbox's.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = address.removeprefix(INBOX_PREFIX).rpartition("/")[0]
        self.near = naming.near_of(self.channel)

    @property
    def alive(self) -> str:
        """There for as long as somebody reads the inbox."""
        return f"{self.near}:alive:{self.address}"

    @property
    def replies(self) -> str:
        """List: the replies."""
        return f"{self.near}:replies:{self.address}"

    @property
    def taken(self) -> str:
        """String: how many of them were taken and removed."""
        return f"{self.near}:taken:{self.address}"


class Packing:
    """One script's targets and messages, collected.

    Args:
        routes: The topology.
        records: For PENDING records.
    """

    def __init__(self, routes: Routes, records: RecordWriter) -> None:
        self._routes, self._records = routes, records
        self.target_keys: list[Argument] = []
        self._target_args: list[Argument] = []
        self._numbers: dict[str, int] = {}

    @property
    def targets(self) -> list[Argument]:
        """All targets, for ``read_targets`` of ``lua/targets.lua``."""
        return [len(self._numbers), *self._target_args]

    def number(self, place: Place) -> int:
        """The number of a queue, group or log among the targets."""
        known = self._numbers.get(place.base)
        if known is None:
            known = self._numbers[place.base] = len(self._numbers) + 1
            if isinstance(place, Target):
                self._add_queue(place)
            else:
                self._add_log(place)
        return known

    def inbox(self, address: str) -> int:
        """The number of an inbox among the targets."""
        known = self._numbers.get(address)
        if known is None:
            known = self._numbers[address] = len(self._numbers) + 1
            plan = InboxPlan(address)
            self.target_keys += (plan.alive, plan.replies)
            self._target_args += ("b", plan.channel)
        return known

    def ways(self, outgoing: Outgoing, places: Sequence[Place]) -> list[int]:
        """Where a message goes, as numbers of targets and lanes in turn."""
        if is_reply(outgoing):
            return [self.inbox(outgoing.routing_key), 0]
        found: list[int] = []
        for place in places:
            found.append(self.number(place))
            found.append(place.lane(outgoing.message.priority) if isinstance(place, Target) else 0)
        return found

    def add(self, outgoing: Outgoing, ways: Sequence[int], keys: list[Argument], args: list[Argument]) -> None:
        """Add a message, for ``read_message`` of ``lua/targets.lua``."""
        message = outgoing.message
        args += (message.id, milliseconds(message.due), encode(message), len(ways) // 2, *ways)
        self._records.add(outgoing.record, keys, args)

    def _add_queue(self, place: Target) -> None:
        self.target_keys += (place.delayed, place.payloads, place.waiting, place.index, place.leases)
        self.target_keys += map(place.stream, range(place.lanes))
        most = _NO_LIMIT if place.max_length is None else place.max_length
        self._target_args += ("q", place.lanes, most, int(place.single_active))

    def _add_log(self, plan: LogPlan) -> None:
        log = plan.log
        self.target_keys += (plan.delayed, plan.payloads, plan.index, plan.meta, plan.stream)
        self.target_keys += (self._routes.plan.targets[group.key].waiting for group in plan.groups)
        limits = (log.max_length, log.max_bytes, None if log.retention is None else int(log.retention * 1000))
        self._target_args += ("l", int(log.history), int(log.hold_for_groups))
        self._target_args += (_NO_LIMIT if limit is None else limit for limit in limits)
        self._target_args.append(len(plan.groups))
