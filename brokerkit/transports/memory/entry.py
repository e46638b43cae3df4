"""One copy of a message in one queue, and the index that finds it by the message's id."""

from __future__ import annotations

from typing import Final

import msgspec

from brokerkit.abilities import DeadMessage
from brokerkit.message import Message

WAITING: Final = 0
DELAYED: Final = 1
HELD: Final = 2
GONE: Final = 3


class Entry(msgspec.Struct, eq=False, gc=False):
    """A message's place in a queue; the token of its deliveries.

    It names its queue instead of pointing to it: without reference cycles a million waiting entries cost the
    garbage collector nothing.

    Args:
        message: The message; replaced by a retry.
        queue: Name of the queue, group or (while delayed there) log.
        level: Its lane.
        state: WAITING, DELAYED, HELD or GONE. What is GONE may still lie in a deque or heap, to be skipped.
        seq: Its place in the lane.
        deliveries: Deliveries of this attempt.
        starts: Durable start marks of this attempt.
        expires: When it expires because of the queue's ``message_ttl``, or None.
        dead: Why it is here, if this is a dead-letter queue.
    """

    message: Message
    queue: str
    level: int
    state: int = WAITING
    seq: int = 0
    deliveries: int = 0
    starts: int = 0
    expires: float | None = None
    dead: DeadMessage | None = None


class Index:
    """Finds the entries that carry a message, dead letters apart.

    Attributes:
        first: The first entry of each id. A queue tries ``setdefault`` here before it calls ``add``.
    """

    def __init__(self) -> None:
        self.first: dict[str, Entry] = {}
        # Fan-out and repeated publishes put one id into several entries; those beyond the first are here.
        self._more: dict[str, list[Entry]] = {}

    def add(self, entry: Entry) -> None:
        if self.first.setdefault(entry.message.id, entry) is not entry:
            self._more.setdefault(entry.message.id, []).append(entry)

    def discard(self, entry: Entry) -> None:
        message_id = entry.message.id
        if not self._more:
            self.first.pop(message_id, None)
            return
        more = self._more.get(message_id, [])
        if entry in more:
            more.remove(entry)
        elif more:
            self.first[message_id] = more.pop(0)
        else:
            self.first.pop(message_id, None)
        if not more:
            self._more.pop(message_id, None)

    def of(self, queue: str) -> list[Entry]:
        """All entries of one queue, dead letters apart."""
        return [entry for message_id in self.first for entry in self.find(message_id) if entry.queue == queue]

    def find(self, message_id: str) -> list[Entry]:
        first = self.first.get(message_id)
        return [] if first is None else [first, *self._more.get(message_id, ())]
