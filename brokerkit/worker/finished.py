"""A finished attempt on its way through the group commit, and the records and replies made of it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from brokerkit.delivery import Delivery
from brokerkit.handlers.handler import Handler
from brokerkit.message import MSGPACK, Message, Outgoing
from brokerkit.records import Attempt, ErrorInfo, RecordPatch, TaskRecord, TaskStatus
from brokerkit.replies import Reply
from brokerkit.worker.decision import Decision

Key = tuple[str, str]
"""Source and message id: what a message in hand is known by."""


class Finished(msgspec.Struct, eq=False):
    """One delivery whose outcome is decided but not settled.

    Args:
        delivery: The delivery.
        decision: What becomes of it.
        handler: Who handled it; None when nobody takes it.
        followups: What the handler left; dropped unless the attempt succeeded.
        started: When the attempt started, None if it did not.
        finished: When it was decided.
        tries: How often committing it has failed.
        reported: Its report is stored and its reply sent; only settling is left.
        replayed: Its report was found in the store; the reply and the settling are left.
        patch: What it reported of itself and is not written yet.
    """

    delivery: Delivery
    decision: Decision
    handler: Handler | None
    followups: Sequence[Outgoing]
    started: float | None
    finished: float
    tries: int = 0
    reported: bool = False
    replayed: bool = False
    patch: RecordPatch | None = None

    @property
    def key(self) -> Key:
        """What the message is known by."""
        return (self.delivery.lane.source, self.delivery.message.id)

    @property
    def keeps_record(self) -> bool:
        """True when a report is due."""
        if self.decision.status is None or self.reported or self.replayed or not self.delivery.message.id:
            return False
        return self.handler is None or (self.handler.is_task and self.handler.record != "none")

    @property
    def reply_to(self) -> str | None:
        """Where the reply goes, None when none is due."""
        status = self.decision.status
        return self.delivery.message.reply_to if status is not None and status.terminal else None


def unstarted(delivery: Delivery, decision: Decision, handler: Handler | None, now: float) -> Finished:
    """A delivery that is decided without being run."""
    return Finished(delivery, decision, handler, (), None, now)


def record_of(finished: Finished, worker: str) -> TaskRecord:
    """The report of a finished attempt."""
    delivery, decision = finished.delivery, finished.decision
    message, status = delivery.message, decision.status
    assert status is not None
    over = status.terminal
    failed = status in (TaskStatus.RETRY, TaskStatus.FAILURE) and decision.error is not None
    patch, metadata = finished.patch, message.metadata
    if patch is not None and patch.metadata:
        metadata = {**metadata, **patch.metadata}
    return TaskRecord(
        id=message.id,
        name=message.name,
        queue=delivery.lane.source,
        status=status,
        run=message.run,
        attempt=message.attempt,
        postponed=message.postponed,
        deliveries=delivery.deliveries,
        created=message.created,
        started=finished.started,
        finished=finished.finished if over else None,
        worker=worker,
        result=decision.result,
        content_type=finished.handler.content_type if finished.handler else MSGPACK,
        error=decision.error,
        attempts=(_attempt(finished, worker, decision.error),) if failed and decision.error else (),
        progress=patch.progress if patch else None,
        note=(patch.note or "") if patch else "",
        metadata=metadata,
        labelled=tuple(patch.metadata) if patch else (),
        parent=message.parent,
        root=message.root,
    )


def _attempt(finished: Finished, worker: str, error: ErrorInfo) -> Attempt:
    return Attempt(finished.delivery.message.attempt, worker, finished.started, finished.finished, error)


def running_record(delivery: Delivery, started: float, worker: str) -> TaskRecord:
    """The report of an attempt that runs."""
    message = delivery.message
    return TaskRecord(
        id=message.id,
        name=message.name,
        queue=delivery.lane.source,
        status=TaskStatus.RUNNING,
        run=message.run,
        attempt=message.attempt,
        postponed=message.postponed,
        deliveries=delivery.deliveries,
        created=message.created,
        started=started,
        worker=worker,
        metadata=message.metadata,
        parent=message.parent,
        root=message.root,
    )


def reply_of(finished: Finished) -> Reply:
    """The reply to whoever waits."""
    message, decision = finished.delivery.message, finished.decision
    assert decision.status is not None
    return Reply(
        message.id,
        message.run,
        decision.status,
        decision.result,
        finished.handler.content_type if finished.handler else MSGPACK,
        decision.error,
        message.attempt,
    )


class KeptFollowUp(msgspec.Struct, frozen=True, array_like=True):
    """A follow-up as a record keeps it."""

    message: Message
    exchange: str
    routing_key: str
    record: TaskRecord | None


_kept = msgspec.msgpack.Decoder(KeptFollowUp)


def followups_kept(followups: Sequence[Outgoing]) -> tuple[bytes, ...]:
    """Follow-ups as a record keeps them."""
    return tuple(
        msgspec.msgpack.encode(KeptFollowUp(out.message, out.exchange, out.routing_key, out.record))
        for out in followups
    )


def followups_restored(kept: Sequence[bytes]) -> list[Outgoing]:
    """Follow-ups as a record kept them."""
    found = (_kept.decode(item) for item in kept)
    return [Outgoing(follow.message, follow.exchange, follow.routing_key, follow.record) for follow in found]


def describe(message: Message) -> str:
    """A message for a log line; never its body."""
    return f"{message.name or 'message'} {message.id}"


MOST_ADDRESSED = 3
"""Follow-ups that are named in a text."""


def addressed(followups: Sequence[Outgoing]) -> str:
    """Follow-ups for a text, the one or those of which one was refused: what goes where."""
    named = [
        f"{describe(follow.message)} to "
        + (f"exchange {follow.exchange!r}, key" if follow.exchange else "queue")
        + f" {follow.routing_key!r}"
        for follow in followups[:MOST_ADDRESSED]
    ]
    more = [f"{len(followups) - MOST_ADDRESSED} more"] if len(followups) > MOST_ADDRESSED else []
    return " or ".join([*named, *more])
