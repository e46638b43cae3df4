"""The same work without a framework, on SQLite: a script with the standard library's driver and the same promises.

Messages are claimed with a commit that need not wait for the disk (synchronous=NORMAL), and deleted, or inserted, with
one that does (FULL); what is stored or replied beside them is in the same transaction.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import struct
import time
from pathlib import Path
from random import uniform
from typing import Any

from tests.bench.child import told_to_go_on
from tests.bench.plain import Handling, Plain, messages, record
from tests.bench.roles import PAUSE

_TABLES = """
CREATE TABLE IF NOT EXISTS messages (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, owner INTEGER, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS ready ON messages (seq) WHERE owner IS NULL;
CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS replies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""
_INSERT = "INSERT INTO messages (id, body) VALUES (?, ?)"
_CLAIM = """
UPDATE messages SET owner = 1 WHERE seq IN (SELECT seq FROM messages WHERE owner IS NULL ORDER BY seq LIMIT ?)
RETURNING seq, id, body"""
_SETTLE = "DELETE FROM messages WHERE seq = ?"
_RECORD = "INSERT OR REPLACE INTO records (id, body) VALUES (?, ?)"
_REPLY = "INSERT INTO replies (body) VALUES (?)"


class File:
    """A database file as a queue."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_TABLES)

    def _begin(self, *, durable: bool) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")

    def put(self, batch: list[Plain], *, records: bool = False) -> None:
        """Insert messages."""
        self._begin(durable=True)
        self._db.executemany(_INSERT, batch)
        if records:
            self._db.executemany(_RECORD, [(message.id, record(message, "PENDING")) for message in batch])
        self._db.execute("COMMIT")

    def claim(self, limit: int) -> tuple[list[tuple[int]], list[Plain]]:
        """Take messages."""
        self._begin(durable=False)
        rows = self._db.execute(_CLAIM, (limit,)).fetchall()
        self._db.execute("COMMIT")
        return [row[:1] for row in rows], [Plain(*row[1:]) for row in rows]

    def settle(self, seqs: list[tuple[int]], batch: list[Plain], *, records: bool, replies: bool) -> None:
        """Acknowledge messages."""
        self._begin(durable=True)
        if records:
            self._db.executemany(_RECORD, [(message.id, record(message, "SUCCESS")) for message in batch])
        if replies:
            self._db.execute(_REPLY, (b"".join(message.id.encode() for message in batch),))
        self._db.executemany(_SETTLE, seqs)
        self._db.execute("COMMIT")


async def drain(path: str, count: int, concurrency: int, records: bool, replies: bool) -> dict[str, Any]:
    """Claim, run, settle, in batches of as many as there are slots."""
    file = File(path)
    for start in range(0, count, 500):
        file.put(messages(min(500, count - start)), records=records)
    handling = Handling()
    started = time.perf_counter()
    while True:
        seqs, batch = file.claim(concurrency)
        if not seqs:
            return {"seconds": time.perf_counter() - started}
        await handling.run(batch)
        file.settle(seqs, batch, records=records, replies=replies)


async def publish(path: str, count: int, batch: int, records: bool) -> dict[str, Any]:
    """Insert in batches, a durable commit for each."""
    file = File(path)
    started = time.perf_counter()
    for _ in range(count // batch):
        file.put(messages(batch), records=records)
    return {"seconds": time.perf_counter() - started}


async def serve(path: str) -> dict[str, Any]:
    """Wait for a datagram beside the file, claim what is there, answer with the time, settle."""
    file = File(path)
    with _bound(f"{path}.worker") as mailbox:
        await told_to_go_on()
        while True:
            _, sender = mailbox.recvfrom(16)
            seqs, batch = file.claim(64)
            if not batch:
                return {}
            mailbox.sendto(struct.pack("d", time.time()), sender)
            file.settle(seqs, batch, records=False, replies=False)


async def lonely_calls(path: str, count: int) -> dict[str, Any]:
    """One message at a time, with pauses, each followed by a datagram."""
    file = File(path)
    dispatches, trips = [], []
    with _bound(f"{path}.sender") as mailbox:
        for number in range(count + 3):
            sent = time.time()
            file.put(messages(1))
            mailbox.sendto(b"", f"{path}.worker")
            begun = struct.unpack("d", mailbox.recv(16))[0]
            if number >= 3:
                trips.append(time.time() - sent)
                dispatches.append(begun - sent)
            await asyncio.sleep(uniform(*PAUSE))
        mailbox.sendto(b"", f"{path}.worker")  # with nothing to claim: the end
    return {"dispatches": dispatches, "trips": trips}


def _bound(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    mailbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    mailbox.settimeout(30)
    mailbox.bind(path)
    return mailbox
