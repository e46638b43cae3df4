"""Entries of streams, and the messages in them.

An entry of ours has the message in ``m``; what changed since it was published lies over it in ``o``; a dead letter has
its story in ``d``, and in ``x`` when it is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from brokerkit.delivery import Flag
from brokerkit.message import JSON, Message

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode
_MESSAGE = b"m"


class Overlay(msgspec.Struct, frozen=True, array_like=True):
    """What has changed of a message since it was published."""

    run: int
    attempt: int
    postponed: int
    expires: float | None


class Story(msgspec.Struct, frozen=True, array_like=True):
    """Why a message is dead."""

    source: str
    reason: str
    error: str
    deliveries: int
    died: float


encode_part = msgspec.msgpack.Encoder().encode
_overlay = msgspec.msgpack.Decoder(Overlay).decode
_story = msgspec.msgpack.Decoder(Story).decode
_ERRORS = (msgspec.MsgspecError, ValueError)


class Found(NamedTuple):
    """What an entry holds.

    Args:
        message: The message; of what cannot be read, its bytes are the body.
        flags: ``UNDECODABLE`` or none.
        story: Of a dead letter.
    """

    message: Message
    flags: Flag = Flag.NONE
    story: Story | None = None


def overlay_of(message: Message) -> Overlay:
    """What a message says now of what may change."""
    return Overlay(message.run, message.attempt, message.postponed, message.expires)


def read(fields: Sequence[bytes], source: str, entry: bytes) -> Found:
    """What an entry's fields hold."""
    if len(fields) == 2 and fields[0] == _MESSAGE:
        try:
            return Found(_decode(fields[1]))
        except _ERRORS:
            return Found(Message(id="", name="", body=fields[1]), Flag.UNDECODABLE)
    return _read_all(dict(zip(fields[::2], fields[1::2], strict=True)), source, entry)


def _read_all(fields: dict[bytes, bytes], source: str, entry: bytes) -> Found:
    story = _story_of(fields)
    if _MESSAGE not in fields:
        return _foreign(fields, source, entry, story)
    try:
        message = _decode(fields[_MESSAGE])
        if b"o" in fields:
            over = _overlay(fields[b"o"])
            message = msgspec.structs.replace(
                message, run=over.run, attempt=over.attempt, postponed=over.postponed, expires=over.expires
            )
    except _ERRORS:
        return Found(Message(id="", name="", body=fields[_MESSAGE]), Flag.UNDECODABLE, story)
    return Found(message, story=story)


def _story_of(fields: dict[bytes, bytes]) -> Story | None:
    """Others may call a field of theirs as we call ours."""
    try:
        return _story(fields[b"d"]) if b"d" in fields else None
    except _ERRORS:
        return None


def _foreign(fields: dict[bytes, bytes], source: str, entry: bytes, story: Story | None) -> Found:
    """Of others: readable with a ``body``; ``id``, ``type`` and ``content_type`` say more."""
    try:
        over = _overlay(fields[b"o"]) if b"o" in fields else Overlay(1, 1, 0, None)
        message = Message(
            id=fields.get(b"id", b"").decode() or f"{source}/{entry.decode()}",
            name=fields.get(b"type", b"").decode(),
            body=fields[b"body"],
            content_type=fields.get(b"content_type", JSON.encode()).decode(),
            created=int(entry.partition(b"-")[0]) / 1000,
            run=over.run,
            attempt=over.attempt,
            postponed=over.postponed,
        )
        return Found(message, story=story)
    except (KeyError, *_ERRORS):
        body = b" ".join(b"=".join(pair) for pair in fields.items())
        return Found(Message(id="", name="", body=body), Flag.UNDECODABLE, story)


def added(entry: bytes) -> float:
    """When an entry was added, by the server's clock."""
    return int(entry.partition(b"-")[0]) / 1000
