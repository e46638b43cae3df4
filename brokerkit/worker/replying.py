"""Replies: results for one inbox in one commit travel in one message."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from brokerkit.clock import Clock
from brokerkit.errors import BrokerkitError
from brokerkit.ids import IdFactory
from brokerkit.insisting import answered
from brokerkit.message import Outgoing
from brokerkit.replies import Reply, chunks, pack
from brokerkit.transport import INBOX_PREFIX, Transport
from brokerkit.worker.finished import Finished, reply_of

_log = logging.getLogger("brokerkit.worker")


class Replier:
    """Sends replies to the callers' inboxes.

    Args:
        transport: Where to.
        clock: Supplies the time.
        ids: Makes the ids of the messages that carry replies.
        limit: Largest result that is replied, in bytes; a larger one is only in the store.
        deadline: Seconds for one publish.
    """

    def __init__(self, transport: Transport, clock: Clock, ids: IdFactory, *, limit: int, deadline: float) -> None:
        self._transport = transport
        self._clock = clock
        self._ids = ids
        self._limit = limit
        self._deadline = deadline

    async def send(self, batch: Sequence[Finished]) -> None:
        """Reply to whoever waits for one of these. A caller that has gone, or a reply that fails, is no error: the
        store, where there is one, has the result."""
        by_inbox: dict[str, list[Reply]] = {}
        for finished in batch:
            address = finished.reply_to
            if address is not None and address.startswith(INBOX_PREFIX):
                by_inbox.setdefault(address, []).append(reply_of(finished))
        if by_inbox:
            await self.send_replies(by_inbox)

    async def send_replies(self, by_inbox: dict[str, list[Reply]]) -> None:
        """Publish replies by address."""
        now = self._clock.now()
        messages: list[Outgoing] = []
        for address, replies in by_inbox.items():
            small = (reply for reply in replies if len(reply.result or b"") <= self._limit)
            messages.extend(pack(address, chunk, self._ids(now), now) for chunk in chunks(small, self._limit))
        if not messages:
            return
        try:
            await answered(self._transport.publish(messages, deadline=self._deadline))
        except BrokerkitError as error:
            _log.warning("%d replies could not be sent: %s", len(messages), error)
