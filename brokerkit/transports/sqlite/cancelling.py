"""Removing a message that has not started."""

from __future__ import annotations

import msgspec

from brokerkit.abilities import NOTHING_REMOVED, Removed
from brokerkit.message import Message
from brokerkit.records import cancelled
from brokerkit.transports.sqlite import sql
from brokerkit.transports.sqlite.claiming import overlaid
from brokerkit.transports.sqlite.placing import decode
from brokerkit.transports.sqlite.records import Records
from brokerkit.transports.sqlite.transaction import Transaction


def cancel(tx: Transaction, records: Records, message_id: str, after_run: int) -> Removed:
    """Remove it from everywhere it waits, with its record's word of it; not if somebody holds a copy."""
    rows = tx.connection.execute(sql.COPIES, (message_id,)).fetchall()
    if not rows:
        return NOTHING_REMOVED
    message = max((_message(message_id, *row) for *row, _ in rows), key=lambda each: each.run)
    if message.run <= after_run:
        return NOTHING_REMOVED
    if any(held for *_, held in rows):
        return Removed(message, held=True)
    tx.run(sql.CANCEL, message_id)
    batch = records.batch(tx, [message_id])
    stored = batch.known(message_id)
    report = cancelled(stored, message.run, tx.now) if stored is not None else None
    if report is not None:
        batch.put(report)
        batch.write()
    return Removed(message)


def _message(message_id: str, attempt: int | None, postponed: int | None, body: bytes) -> Message:
    try:
        return overlaid(decode(body), attempt, postponed)
    except (msgspec.MsgspecError, ValueError):
        return Message(id=message_id, name="", body=body)
