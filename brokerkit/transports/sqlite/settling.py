"""Carrying out outcomes: what a batch may do is checked first, then each kind is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from brokerkit.delivery import Delivery
from brokerkit.outcome import Ack, DeadLetter, Outcome, Redeliver, Release
from brokerkit.transport import Settled, StartMark
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.claiming import Token
from brokerkit.transports.sqlite.routes import Room, Routes
from brokerkit.transports.sqlite.transaction import Transaction, array

_ids = msgspec.json.Decoder(list[int]).decode
_to_json = msgspec.json.Encoder().encode


class Verdict(NamedTuple):
    """One delivery and its outcome.

    Args:
        token: Which delivery.
        outcome: What to do with it.
        marked: A start mark was written for it, which a release takes back.
        priority: The message's, for the lanes of a dead-letter queue.
    """

    token: Token
    outcome: Outcome
    marked: bool = False
    priority: int = 5


def verdict(delivery: Delivery, outcome: Outcome) -> Verdict:
    """A delivery and its outcome as the writer wants them."""
    return Verdict(delivery.token, outcome, delivery.marked, delivery.message.priority)


class Settling:
    """One batch of outcomes."""

    def __init__(self, tx: Transaction, routes: Routes, room: Room) -> None:
        routes.refresh(tx)
        self._tx, self._routes, self._room = tx, routes, room
        self._acks: list[int] = []
        self._redeliveries: list[tuple[int, int, int, float | None, float | None]] = []
        self._releases: list[tuple[int, int]] = []
        self._burials: list[tuple[int, int, int, float | None, float, str]] = []
        self._held: set[tuple[int, int]] = set()

    def look_up(self, tokens: Sequence[Token]) -> None:
        """Find which of the deliveries are still held."""
        for owner in {token.owner for token in tokens}:
            seqs = array(token.seq for token in tokens if token.owner == owner)
            self._held.update((seq, owner) for seq in _ids(self._tx.row(sql.HOLDS, seqs, owner)[0]))

    def holds(self, verdict: Verdict) -> bool:
        """Whether the delivery is still held."""
        return (verdict.token.seq, verdict.token.owner) in self._held

    def check(self, verdict: Verdict) -> Settled:
        """Whether the outcome can be carried out now."""
        if not self.holds(verdict):
            return Settled.LOST
        if isinstance(verdict.outcome, DeadLetter) and not self._can_bury(verdict.token):
            return Settled.FAILED
        return Settled.DONE

    def add(self, verdict: Verdict) -> None:
        """Take what ``check`` has allowed."""
        token, outcome = verdict.token, verdict.outcome
        self._held.discard((token.seq, token.owner))
        if self._routes.single:
            # The next one may only begin when nothing is held any more.
            self._tx.woken.add(token.source)
        match outcome:
            case Ack():
                self._acks.append(token.seq)
            case Redeliver():
                self._redeliver(token, outcome)
            case Release():
                self._releases.append((token.seq, int(verdict.marked)))
                self._tx.woken.add(token.source)
            case DeadLetter():
                self._bury(verdict, outcome)

    def write(self) -> None:
        """Carry out all."""
        kinds: list[tuple[str, list[Any]]] = [
            (sql.ACK, self._acks),
            (sql.REDELIVER, self._redeliveries),
            (sql.RELEASE, self._releases),
            (sql.BURY, self._burials),
        ]
        for statement, values in kinds:
            if values:
                self._tx.run(statement, array(values))

    def _redeliver(self, token: Token, outcome: Redeliver) -> None:
        due = self._tx.now + outcome.after if outcome.after > 0 else None
        ttl = self._routes.target(token.source).ttl
        expires = None if ttl is None else (due or self._tx.now) + ttl
        self._redeliveries.append((token.seq, outcome.attempt, outcome.postponed, due, expires))
        self._tx.woken.add(token.source)

    def _grave(self, token: Token) -> str | None:
        return self._routes.target(token.source).dead_letter

    def _can_bury(self, token: Token) -> bool:
        name = self._grave(token)
        if name is None:
            return False
        return self._room.takes(self._routes.ids[name], self._routes.plan.targets[name].max_length)

    def _bury(self, verdict: Verdict, outcome: DeadLetter) -> None:
        token, name = verdict.token, self._grave(verdict.token) or ""
        target, source, now = self._routes.plan.targets[name], self._routes.ids[name], self._tx.now
        story = {"source": self._routes.keys[token.source], "reason": outcome.reason.value, "error": outcome.error}
        kept = self._routes.target(token.source).dead_ttl
        expires = None if kept is None else now + kept
        lane = target.lane(verdict.priority)
        dead = _to_json({**story, "died": now}).decode()
        self._burials.append((token.seq, source, lane, expires, now, dead))
        self._room.add(source)
        self._tx.woken.add(source)


class Settle:
    """The work that settles without anything else."""

    durable = True

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def run(self, tx: Transaction, items: Sequence[Verdict]) -> list[Settled]:
        # Read once more only where something has to be routed: an acknowledgement needs no topology.
        if (quick := self._all_acknowledged(tx, items)) is not None:
            return quick
        settling = Settling(tx, self._routes, Room(tx))
        settling.look_up([verdict.token for verdict in items])
        answers = []
        for verdict in items:
            answer = settling.check(verdict)
            if answer is Settled.DONE:
                settling.add(verdict)
            answers.append(answer)
        settling.write()
        return answers

    def _all_acknowledged(self, tx: Transaction, items: Sequence[Verdict]) -> list[Settled] | None:
        """The usual case in one statement; None when it is not that case."""
        owner = items[0].token.owner
        if self._routes.single or any(
            type(verdict.outcome) is not Ack or verdict.token.owner != owner for verdict in items
        ):
            return None
        done = tx.run(sql.ACK_HELD, array(verdict.token.seq for verdict in items), owner, len(items))
        return [Settled.DONE] * len(items) if done else None


class MarkStart:
    """The work that writes start marks."""

    durable = True

    def run(self, tx: Transaction, items: Sequence[Token]) -> list[StartMark]:
        held: set[tuple[int, int]] = set()
        for owner in {token.owner for token in items}:
            seqs = array(token.seq for token in items if token.owner == owner)
            held.update((seq, owner) for seq in _ids(tx.row(sql.HOLDS, seqs, owner)[0]))
        tx.run(sql.MARK_START, array(seq for seq, _ in held))
        return [StartMark.MARKED if (token.seq, token.owner) in held else StartMark.LOST for token in items]
