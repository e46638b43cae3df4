"""Who holds what: owners with a lease, and how a dead owner's messages go back.

A lease belongs to an owner, not to a message: renewing is one statement for all that a process holds, done by the
writer's thread, which no handler can starve. Times are ``time.monotonic``, which all processes of a host share and
nobody sets. After a restart of the host old leases lie too far in the future; they count as dead at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.transaction import Transaction, array
from brokerkit.transports.sqlite.wake import Bell

_ids = msgspec.json.Decoder(list[int]).decode

_LONGEST_LEASE = 86400.0
"""Seconds; a lease that ends later than this from now was written before the host was started."""


class Owner:
    """Somebody in this process who listens or holds messages.

    Attributes:
        id: Its number in the file; it gets another one when it was taken for dead.
        sources: The sources it consumes.
        inbox: The address of its inbox, or None.
        signals: Whether it listens to signals.
        lost: Called on the event loop with the number under which nothing is held any more.
        wake: Called on the event loop when there is something.
        marked: Held messages whose start mark is taken back when it leaves.
    """

    __slots__ = ("id", "inbox", "lost", "marked", "signals", "sources", "wake")

    def __init__(
        self,
        lost: Callable[[int], None],
        wake: Callable[[Iterable[int]], None],
        *,
        sources: tuple[int, ...] = (),
        inbox: str | None = None,
        signals: bool = False,
    ) -> None:
        self.id = 0
        self.marked: tuple[int, ...] = ()
        self.sources, self.inbox, self.signals = sources, inbox, signals
        self.lost, self.wake = lost, wake


class Peer(NamedTuple):
    """An owner in another process, or in another transport of this one."""

    id: int
    member: str
    until: float
    socket: str
    sources: frozenset[int]
    inbox: str | None
    signals: bool


class Owners:
    """The owners of this process and what it knows of the others'. Everything runs in the writer's thread.

    Args:
        member: Identifies this transport among all that use the file.
        lease: Seconds.
        bell: The sockets.
    """

    def __init__(self, member: str, lease: float, bell: Bell) -> None:
        self.member, self.lease = member, lease
        self.mine: dict[int, Owner] = {}
        self.peers: list[Peer] = []
        self._bell = bell

    def register(self, tx: Transaction, owner: Owner) -> None:
        """Give an owner its number. It counts from the commit on."""
        sources = array(owner.sources)
        row = (self.member, time.monotonic() + self.lease, self._bell.address, sources, owner.inbox, owner.signals)
        number = tx.connection.execute(sql.ADD_OWNER, row).lastrowid or 0
        before, owner.id = owner.id, number
        self.mine.pop(before, None)
        self.mine[number] = owner

    def restore(self, tx: Transaction, owner: Owner) -> None:
        """Others took this owner for dead: what it held is lost, and it goes on under a new number."""
        before = owner.id
        self.register(tx, owner)
        tx.after.append(lambda: owner.lost(before))

    def unregister(self, tx: Transaction, owner: Owner) -> None:
        """Hand everything back as if it had not been delivered."""
        held = _ids(tx.row(sql.RECLAIMED_SOURCES, array([owner.id]))[0])
        tx.run(sql.UNMARK, array(owner.marked), owner.id)
        tx.run(sql.RELEASE_ALL, owner.id)
        tx.woken.update(held)
        tx.woken.update(owner.sources)
        self._drop(tx, [owner.id])
        self.mine.pop(owner.id, None)

    def give_up(self, tx: Transaction) -> None:
        """Treat all of this process's owners as others would treat dead ones."""
        mine = [owner for owner in self.mine.values() if owner.sources]
        numbers = [owner.id for owner in mine]
        tx.woken.update(_ids(tx.row(sql.RECLAIMED_SOURCES, array(numbers))[0]))
        tx.run(sql.RECLAIM, array(numbers))
        self._drop(tx, numbers)
        for owner in mine:
            self.restore(tx, owner)

    def set_active(self, tx: Transaction, owner: Owner, *, active: bool) -> None:
        """Whether it counts as a consumer; one that pauses lets the next one have what only one may consume."""
        tx.run(sql.SET_ACTIVE, active, owner.id)
        tx.woken.update(owner.sources)

    def renew(self, tx: Transaction) -> None:
        """Extend the leases, and notice those that others took away."""
        if self.mine and tx.run(sql.RENEW, time.monotonic() + self.lease, self.member) != len(self.mine):
            present = set(_ids(tx.row(sql.OWN_IDS, self.member)[0]))
            for owner in [owner for number, owner in self.mine.items() if number not in present]:
                self.restore(tx, owner)

    def look_around(self, tx: Transaction) -> None:
        """Read who else is there."""
        self.peers = [
            Peer(number, member, until, socket, frozenset(_ids(sources)), inbox, bool(signals))
            for number, member, until, socket, sources, inbox, signals in tx.connection.execute(
                sql.PEERS, (self.member,)
            ).fetchall()
        ]

    def suspects(self) -> list[str]:
        """Members whose lease has run out, or whose socket shows that their process has ended."""
        now = time.monotonic()
        expired = {peer.member for peer in self.peers if not now <= peer.until <= now + _LONGEST_LEASE}
        sockets = {peer.socket: peer.member for peer in self.peers if peer.socket}
        return [*expired, *(member for socket, member in sockets.items() if self._bell.is_dead(socket))]

    def reclaim(self, tx: Transaction, refused: Sequence[str]) -> None:
        """Give back what the dead hold; their deliveries stay counted. Leases are checked again here."""
        now = time.monotonic()
        dead = _ids(tx.row(sql.DEAD_OWNERS, self.member, now, now + _LONGEST_LEASE, array(refused))[0])
        if dead:
            tx.woken.update(_ids(tx.row(sql.RECLAIMED_SOURCES, array(dead))[0]))
            tx.run(sql.RECLAIM, array(dead))
            self._drop(tx, dead)
            gone = {peer.socket for peer in self.peers if peer.id in dead}
            tx.after.append(lambda: self._bell.forget(gone))
        self.look_around(tx)

    def _drop(self, tx: Transaction, numbers: Sequence[int]) -> None:
        tx.run(sql.DROP_REPLIES, array(numbers))
        tx.run(sql.DROP_OWNERS, array(numbers))
