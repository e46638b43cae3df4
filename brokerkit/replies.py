"""Results on their way back: what a reply says, and many of them in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from brokerkit.errors import DecodeError
from brokerkit.message import MSGPACK, Message, Outgoing
from brokerkit.records import ErrorInfo, TaskRecord, TaskStatus

REPLIES = "bk.replies"
"""The wire name of a message that carries replies."""


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of one task.

    Args:
        id: The task's id.
        run: Which run.
        status: SUCCESS, FAILURE, CANCELLED or EXPIRED.
        result: The encoded return value of a success.
        content_type: How it is encoded.
        error: Why it did not succeed.
        attempts: Counted attempts.
    """

    id: str
    run: int
    status: TaskStatus
    result: bytes | None
    content_type: str
    error: ErrorInfo | None
    attempts: int


def reply_from(record: TaskRecord) -> Reply:
    """The same reply, from what a store kept of it."""
    return Reply(record.id, record.run, record.status, record.result, record.content_type, record.error, record.attempt)


def record_from(reply: Reply, name: str) -> TaskRecord:
    """As much of a record as a reply says, where no store keeps one."""
    return TaskRecord(
        id=reply.id,
        name=name,
        queue="",
        status=reply.status,
        run=reply.run,
        attempt=reply.attempts,
        result=reply.result,
        content_type=reply.content_type,
        error=reply.error,
    )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Reply])


def pack(address: str, replies: Sequence[Reply], message_id: str, now: float) -> Outgoing:
    """One message with many replies for one inbox."""
    body = _encoder.encode(replies)
    return Outgoing(Message(id=message_id, name=REPLIES, body=body, created=now), "", address)


def unpack(message: Message) -> list[Reply]:
    """The replies of a message.

    Raises:
        DecodeError: It is not a message of replies.
    """
    if message.name != REPLIES or message.content_type != MSGPACK:
        raise DecodeError(f"not a message of replies: {message.name!r}")
    try:
        return _decoder.decode(message.body)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"replies cannot be read: {error}") from error


def chunks(replies: Iterable[Reply], limit: int) -> Iterable[list[Reply]]:
    """Split so that each message's results stay about within ``limit`` bytes."""
    chunk: list[Reply] = []
    size = 0
    for reply in replies:
        weight = 100 + len(reply.result or b"") + (len(reply.error.traceback) if reply.error else 0)
        if chunk and size + weight > limit:
            yield chunk
            chunk, size = [], 0
        chunk.append(reply)
        size += weight
    if chunk:
        yield chunk
