"""Who gets what the broker sends for a channel."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """One channel's. Called synchronously on the event loop, in the order of the wire; must not raise."""

    def delivered(
        self, tag: int, redelivered: bool, exchange: bytes, routing_key: bytes, header: bytes, body: bytes
    ) -> None:
        """A message for a consumer of this channel."""

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        """The broker has taken (``ok``) or refused a publish; with ``multiple`` all up to it."""

    def returned(self, reply_code: int, reply_text: str, header: bytes, body: bytes) -> None:
        """A publish that nothing takes; its confirmation follows."""

    def cancelled(self, consumer_tag: str) -> None:
        """The broker has ended a consumer."""

    def fed(self) -> None:
        """Once after all calls that came of one read from the socket."""
