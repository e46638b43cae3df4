"""One transaction of the writer: what the work in it reads and leaves."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec

from brokerkit.transports.sqlite.inserting import parts, values

_to_json = msgspec.json.Encoder().encode


class Transaction:
    """Handed to every work of a batch.

    Attributes:
        connection: The writer's, inside BEGIN IMMEDIATE.
        now: Seconds since the epoch, the same for the whole batch.
        woken: Sources in which something became available.
        inboxes: Inboxes (by the owner's id) that got replies.
        signalled: A signal was sent.
        after: Called on the event loop once the transaction is committed, never otherwise.
    """

    __slots__ = ("after", "connection", "inboxes", "now", "signalled", "woken")

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.woken: set[int] = set()
        self.inboxes: set[int] = set()
        self.signalled = False
        self.after: list[Callable[[], None]] = []

    def run(self, statement: str, *values: Any) -> int:
        """Execute, and return the number of rows changed."""
        return self.connection.execute(statement, values).rowcount

    def row(self, statement: str, *values: Any) -> Any:
        """The first row of a query, None if there is none."""
        return self.connection.execute(statement, values).fetchone()

    def insert(self, head: str, rows: Sequence[tuple[Any, ...]], tail: str = "") -> None:
        """Insert many rows in few steps."""
        for start, size in parts(len(rows)):
            statement = values(head, len(rows[0]), size, tail)
            self.connection.execute(statement, list(chain.from_iterable(rows[start : start + size])))

    def insert_alike(self, head: str, common: tuple[Any, ...], rest: list[Any], width: int) -> None:
        """The same for rows that all begin with the same values; ``rest`` has the others, row after row, not nested."""
        own = width - len(common)
        for start, size in parts(len(rest) // own):
            statement = values(head, width, size, common=len(common))
            self.connection.execute(statement, [*common, *rest[start * own : (start + size) * own]])


def array(values: Iterable[Any]) -> str:
    """Values as the text of one JSON array, for ``json_each(?)``."""
    return _to_json(list(values)).decode()


def split(lengths: Iterable[int], packed: bytes) -> Iterable[bytes]:
    """The single bodies of a row that holds many."""
    start = 0
    for length in lengths:
        yield packed[start : start + length]
        start += length
