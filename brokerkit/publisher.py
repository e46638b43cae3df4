"""Everything that leaves: PENDING records first where they are apart, then a confirmed publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from brokerkit.clock import Clock
from brokerkit.errors import NotConfirmed, PublishFailed, PublishUnknown, QueueFull, StoreError, Unroutable
from brokerkit.message import Outgoing
from brokerkit.middleware import Send, SendMiddleware
from brokerkit.store import Put, Store
from brokerkit.transport import Published, Transport


class Publisher:
    """Publishes batches through the middleware.

    Args:
        transport: Where to.
        store: Where PENDING records go when the transport does not keep them with the message; None for nowhere.
        clock: Supplies the time.
        middleware: Wraps every publish, the first one outermost.
        deadline: Seconds for one publish.
    """

    def __init__(
        self,
        transport: Transport,
        store: Store | None,
        clock: Clock,
        *,
        middleware: Sequence[SendMiddleware] = (),
        deadline: float = 10.0,
    ) -> None:
        self._transport = transport
        self._store = store
        self._clock = clock
        self.deadline = deadline
        self._with_message = transport.capabilities.atomic_records
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
            raise publish_error(messages, failed)

    async def _send(self, messages: Sequence[Outgoing]) -> Sequence[Published]:
        if self._with_message or self._store is None:
            return await self._transport.publish(messages, deadline=self.deadline)
        await self._put_pending(self._store, messages)
        bare = [msgspec.structs.replace(m, record=None) if m.record is not None else m for m in messages]
        answers = await self._transport.publish(bare, deadline=self.deadline)
        await self._forget_refused(self._store, messages, answers)
        return answers

    async def _put_pending(self, store: Store, messages: Sequence[Outgoing]) -> None:
        records = [outgoing.record for outgoing in messages if outgoing.record is not None]
        if not records:
            return
        for answer in await store.put(records):
            if answer in (Put.ERROR, Put.TOO_LARGE):
                raise StoreError(f"the store did not take a PENDING record ({answer.value}); nothing was published")

    async def _forget_refused(self, store: Store, messages: Sequence[Outgoing], answers: Sequence[Published]) -> None:
        """A message that is surely nowhere leaves no PENDING record behind."""
        gone = [
            outgoing.message.id
            for outgoing, answer in zip(messages, answers, strict=True)
            if outgoing.record is not None and answer not in (Published.CONFIRMED, Published.UNKNOWN)
        ]
        if gone:
            await store.delete(gone)


_ERRORS: dict[Published, tuple[type[PublishFailed], str]] = {
    Published.UNROUTABLE: (Unroutable, "no binding matches; bind a queue, or give the exchange an alternate"),
    Published.FULL: (QueueFull, "a queue's max_length or the disk's end is reached; try again when it has drained"),
    Published.REFUSED: (NotConfirmed, "the broker refused it"),
    Published.UNKNOWN: (PublishUnknown, "no answer before the deadline; it may have arrived"),
}


def publish_error(messages: Sequence[Outgoing], failed: Mapping[str, Published]) -> PublishFailed:
    """The error for refused messages, worded by the first of them."""
    first = next(outgoing for outgoing in messages if outgoing.message.id in failed)
    kind, why = _ERRORS[failed[first.message.id]]
    count = f"{len(failed)} of {len(messages)} messages, the first: " if len(messages) > 1 else ""
    where = f"queue {first.routing_key!r}"
    if first.exchange:
        where = f"exchange {first.exchange!r}, key {first.routing_key!r}"
    error = kind(f"{count}{first.message.name or 'message'} {first.message.id} to {where}: {why}")
    error.failed = failed
    return error
