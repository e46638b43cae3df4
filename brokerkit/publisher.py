"""Everything that leaves: PENDING records first where they are apart, then a confirmed publish."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec

from brokerkit.clock import Clock
from brokerkit.errors import NotConfirmed, PublishFailed, PublishUnknown, QueueFull, StoreError, Unroutable
from brokerkit.message import Outgoing
from brokerkit.middleware import Send, SendMiddleware
from brokerkit.store import Put, Store
from brokerkit.topology import Exchange, Queue
from brokerkit.topology.suggestion import did_you_mean
from brokerkit.transport import Published, Transport

_log = logging.getLogger("brokerkit")


class Publisher:
    """Publishes batches through the middleware.

    Args:
        transport: Where to.
        store: Where PENDING records go before the message; None when the transport keeps them with it, or nobody does.
        clock: Supplies the time.
        middleware: Wraps every publish, the first one outermost.
        deadline: Seconds for one publish.
        known: What the app has declared so far, for suggestions when a name is wrong.
    """

    def __init__(
        self,
        transport: Transport,
        store: Store | None,
        clock: Clock,
        *,
        middleware: Sequence[SendMiddleware] = (),
        deadline: float = 10.0,
        known: Collection[Exchange | Queue] = (),
    ) -> None:
        self._transport = transport
        self._store = store
        self._clock = clock
        self.deadline = deadline
        self._known = known
        send: Send = self._send
        for wrap in reversed(middleware):
            send = wrap(send)
        self.publish: Send = send

    async def publish_or_raise(self, messages: Sequence[Outgoing]) -> None:
        """Publish; every message that was not confirmed is in the error.

        Raises:
            PublishFailed: The subclass says why; ``failed`` maps the ids of all refused messages to their answers.
        """
        answers = await self.publish(messages)
        failed = {
            outgoing.message.id: answer
            for outgoing, answer in zip(messages, answers, strict=True)
            if answer is not Published.CONFIRMED
        }
        if failed:
            raise publish_error(messages, failed, self._known)

    async def _send(self, messages: Sequence[Outgoing]) -> Sequence[Published]:
        if self._store is None:
            return await self._transport.publish(messages, deadline=self.deadline)
        unkept, new = await self._put_pending(self._store, messages)
        bare = [
            msgspec.structs.replace(outgoing, record=None) if outgoing.record is not None else outgoing
            for outgoing in messages
            if outgoing.message.id not in unkept
        ]
        published = iter(await self._transport.publish(bare, deadline=self.deadline) if bare else ())
        answers = [unkept.get(outgoing.message.id) or next(published) for outgoing in messages]
        gone = [
            outgoing.message.id
            for outgoing, answer in zip(messages, answers, strict=True)
            if outgoing.message.id in new and answer not in (Published.CONFIRMED, Published.UNKNOWN)
        ]
        if gone:
            await self._forget(self._store, gone)
        return answers

    async def _put_pending(self, store: Store, messages: Sequence[Outgoing]) -> tuple[dict[str, Published], set[str]]:
        """Store PENDING records; returns the answers to messages that stay here because theirs was not taken, and the
        ids of those that were."""
        records = [outgoing.record for outgoing in messages if outgoing.record is not None]
        if not records:
            return {}, set()
        answers = dict(zip((record.id for record in records), await store.put(records), strict=True))
        failed = [task_id for task_id, answer in answers.items() if answer is Put.ERROR]
        if len(failed) == len(messages):
            raise StoreError("the store did not take the PENDING records; nothing was published")
        unkept = dict.fromkeys(failed, Published.UNKNOWN)
        unkept.update((task_id, Published.REFUSED) for task_id, answer in answers.items() if answer is Put.TOO_LARGE)
        return unkept, {task_id for task_id, answer in answers.items() if answer is Put.STORED}

    async def _forget(self, store: Store, gone: Sequence[str]) -> None:
        """A message that is surely nowhere leaves no PENDING record behind, if the store can be reached."""
        try:
            await store.delete(gone)
        except StoreError as error:  # what became of the messages must be told all the same
            _log.warning("%d PENDING records of messages that were refused stay: %s", len(gone), error)


_ERRORS: dict[Published, tuple[type[PublishFailed], str]] = {
    Published.UNROUTABLE: (Unroutable, "no binding matches; bind a queue, or give the exchange an alternate"),
    Published.FULL: (QueueFull, "a queue's max_length or the disk's end is reached; try again when it has drained"),
    Published.REFUSED: (NotConfirmed, "the broker refused it"),
    Published.UNKNOWN: (PublishUnknown, "no answer before the deadline; it may have arrived"),
}


def publish_error(
    messages: Sequence[Outgoing], failed: Mapping[str, Published], known: Collection[Exchange | Queue]
) -> PublishFailed:
    """The error for refused messages, worded by the first of them."""
    first = next(outgoing for outgoing in messages if outgoing.message.id in failed)
    kind, why = _ERRORS[failed[first.message.id]]
    if kind is Unroutable:
        why = _nowhere(first, known) or why
    count = f"{len(failed)} of {len(messages)} messages, the first: " if len(messages) > 1 else ""
    where = f"queue {first.routing_key!r}"
    if first.exchange:
        where = f"exchange {first.exchange!r}, key {first.routing_key!r}"
    error = kind(f"{count}{first.message.name or 'message'} {first.message.id} to {where}: {why}")
    error.failed = failed
    return error


def _nowhere(outgoing: Outgoing, known: Collection[Exchange | Queue]) -> str:
    """Why a message goes nowhere, if that is its target's name."""
    if not outgoing.exchange:
        queues = [each.name for each in known if isinstance(each, Queue)]
        if outgoing.routing_key in queues:
            return "the queue has been deleted; restart this program, or apply its topology again"
        return f"there is no such queue{did_you_mean(outgoing.routing_key, queues)}"
    exchanges = [each.name for each in known if isinstance(each, Exchange)]
    if outgoing.exchange in exchanges:
        return ""
    return f"no binding matches, and this app declares no such exchange{did_you_mean(outgoing.exchange, exchanges)}"
