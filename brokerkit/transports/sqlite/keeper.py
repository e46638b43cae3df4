"""What the writer's thread does by itself: renews, looks who has died, wakes others, removes what is old."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.claiming import promote
from brokerkit.transports.sqlite.database import Call
from brokerkit.transports.sqlite.owners import Owner, Owners, Peer
from brokerkit.transports.sqlite.retention import trim
from brokerkit.transports.sqlite.routes import Routes
from brokerkit.transports.sqlite.transaction import Transaction
from brokerkit.transports.sqlite.wake import MESSAGES, REPLIES, SIGNALS, Bell
from brokerkit.transports.sqlite.writer import Chore, Writer

LOOK_OUT = 1.0
"""Seconds between two looks at what others have done, for wake-ups that got lost."""


class Keeper:
    """Everything here runs in the writer's thread.

    Args:
        writer: The thread.
        owners: This process's and the others'.
        routes: The topology.
        bell: The sockets.
    """

    def __init__(self, writer: Writer, owners: Owners, routes: Routes, bell: Bell) -> None:
        self._writer, self._owners, self._routes, self._bell = writer, owners, routes, bell
        self._seen = 0
        self._newest_owner = 0
        self._quiet = Call(durable=False)
        self._chores = [
            Chore(owners.lease / 3, self._renew),
            Chore(LOOK_OUT, self._look_out),
            Chore(LOOK_OUT, self._remove_old),
        ]

    def start(self) -> None:
        for chore in self._chores:
            self._writer.every(chore)
        self._writer.committed.append(self.committed)
        self._look_around()

    def stop(self) -> None:
        for chore in self._chores:
            self._writer.never(chore)
        if self.committed in self._writer.committed:
            self._writer.committed.remove(self.committed)

    def committed(self, tx: Transaction) -> None:
        """Wake whoever waits for what this transaction has made available."""
        if not (tx.woken or tx.inboxes or tx.signalled):
            return
        for owner in self._owners.mine.values():
            if _concern(owner, tx):
                tx.after.append(_waking(owner, tx))
        if self._routes.newest_owner > self._newest_owner:
            self._look_around()
        # One datagram for each process, whatever number of its owners are concerned.
        rings: dict[tuple[str, str], int] = {}
        for peer in self._owners.peers:
            if what := _concern(peer, tx):
                rings[peer.socket, peer.member] = rings.get((peer.socket, peer.member), 0) | what
        dead = [member for (socket, member), what in rings.items() if not self._bell.ring(socket, what)]
        if dead:
            self._reclaim(dead)

    def _renew(self) -> None:
        if self._owners.mine:
            self._do(self._owners.renew)

    def _look_out(self) -> None:
        (version,) = self._writer.connection.execute("PRAGMA data_version").fetchone()
        if version != self._seen:
            self._seen = version
            self._look_around()
            owners = list(self._owners.mine.values())
            self._writer.on_loop(lambda: [owner.wake(()) for owner in owners])
        if self._owners.peers and (dead := self._owners.suspects()):
            self._reclaim(dead)

    def _remove_old(self) -> None:
        plan = self._routes.plan
        aged = [each for each in plan.logs.values() if each.log.retention is not None]
        if aged or plan.graves:
            self._do(self._remove)
        if plan.logs:
            self._do(lambda tx: promote(tx, self._routes, [self._routes.ids[name] for name in self._routes.plan.logs]))

    def _remove(self, tx: Transaction) -> None:
        self._routes.refresh(tx)
        for plan in self._routes.plan.logs.values():
            if plan.log.retention is not None:
                trim(tx, self._routes, plan)
        for name in self._routes.plan.graves:
            tx.run(sql.DROP_OLD_DEAD, self._routes.ids[name], tx.now)

    def _look_around(self) -> None:
        self._newest_owner = max(self._routes.newest_owner, self._newest_owner)
        self._owners.look_around(Transaction(self._writer.connection, 0.0))

    def _reclaim(self, dead: Sequence[str]) -> None:
        self._do(lambda tx: self._owners.reclaim(tx, dead))

    def _do(self, call: Callable[[Transaction], None]) -> None:
        self._writer.do_now(self._quiet, [call])


def _concern(listener: Owner | Peer, tx: Transaction) -> int:
    """What a transaction has for a listener, 0 for nothing."""
    what = 0 if tx.woken.isdisjoint(listener.sources) else MESSAGES
    if listener.id in tx.inboxes:
        what |= REPLIES
    return what | SIGNALS if tx.signalled and listener.signals else what


def _waking(owner: Owner, tx: Transaction) -> Callable[[], None]:
    return lambda: owner.wake(tx.woken)
