"""Sending and publishing: from calls and events to confirmed messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from brokerkit.calls import Call, Composer, SendOptions, TaskProfile, any_result, check_call, send_options
from brokerkit.client.handle import Client, Handle
from brokerkit.client.inbox import ReplyInbox
from brokerkit.client.progress import Progress
from brokerkit.codec import check_nesting, encode
from brokerkit.errors import ConfigurationError, EncodeError
from brokerkit.message import Outgoing
from brokerkit.options import SendKeywords
from brokerkit.publisher import Publisher
from brokerkit.settings import Settings
from brokerkit.topology import Exchange, Mode, Queue, Topology, modeless, validate, with_exchanges
from brokerkit.transport import Transport

R = TypeVar("R")


class Event:
    """One event for ``publish_many``: the arguments of ``publish``.

    Args:
        payload: The event.
        exchange: An ``Exchange`` or its name.
        routing_key: The key.
        options: The fields of ``SendOptions``.
    """

    __slots__ = ("exchange", "options", "payload", "routing_key")

    def __init__(
        self, payload: Any, *, exchange: str | Exchange, routing_key: str = "", **options: Unpack[SendKeywords]
    ) -> None:
        self.payload = payload
        self.exchange = exchange
        self.routing_key = routing_key
        self.options = send_options(options)


class Sending:
    """Sends through one opening of an app.

    Args:
        client: The opening, for handles.
        publisher: What publishes.
        composer: Makes messages.
        inbox: Where replies arrive.
        transport: Where topology is declared.
        app: The app's name.
        known: What has been declared; more is added as it is.
        settings: The app's.
        mode: That of what names none. Default ``own``.
    """

    def __init__(
        self,
        client: Client,
        publisher: Publisher,
        composer: Composer,
        inbox: ReplyInbox,
        *,
        transport: Transport,
        app: str,
        known: set[Exchange | Queue],
        settings: Settings,
        mode: Mode = "own",
    ) -> None:
        self._client = client
        self._publisher = publisher
        self._composer = composer
        self._inbox = inbox
        self._transport = transport
        self._app = app
        self._settings = settings
        self._known = known
        self._mode = mode

    async def send(self, calls: Sequence[Call[R]], size: int, progress: Progress | None = None) -> list[Handle[R]]:
        """Publish calls in batches of ``size``, composing each while the one before is on its way; a handle for each,
        in order."""
        for call in calls:
            check_call(call)
        wants_reply = any(call.profile.reply for call in calls)
        reply_to = await self._inbox.address() if wants_reply else None
        handles: list[Handle[R]] = []
        outgoing = self._compose(calls[:size], reply_to, handles)
        done = 0
        while outgoing:
            following = calls[done + len(outgoing) : done + len(outgoing) + size]
            composed = await self._publish_composing(outgoing, following, reply_to, handles)
            done += len(outgoing)
            if progress is not None:
                progress(done, len(calls))
            outgoing = composed
        return handles

    async def _publish_composing(
        self,
        outgoing: list[Outgoing],
        following: Sequence[Call[R]],
        reply_to: str | None,
        handles: list[Handle[R]],
    ) -> list[Outgoing]:
        """Publish one batch while the next is composed, which is returned."""
        if not following:
            await self._publisher.publish_or_raise(outgoing)
            return []
        sent, composed = await asyncio.gather(
            self._publisher.publish_or_raise(outgoing),
            self._compose_soon(following, reply_to, handles),
            return_exceptions=True,  # a call that cannot be composed does not leave a publish unattended
        )
        if isinstance(sent, BaseException):
            raise sent
        if isinstance(composed, BaseException):
            raise composed
        return composed

    async def _compose_soon(
        self, calls: Sequence[Call[R]], reply_to: str | None, handles: list[Handle[R]]
    ) -> list[Outgoing]:
        return self._compose(calls, reply_to, handles)

    def _compose(self, calls: Sequence[Call[R]], reply_to: str | None, handles: list[Handle[R]]) -> list[Outgoing]:
        outgoing = [self._composer.call(call, reply_to=reply_to) for call in calls]
        handles += [self._handle(call, message) for call, message in zip(calls, outgoing, strict=True)]
        return outgoing

    def _handle(self, call: Call[R], outgoing: Outgoing) -> Handle[R]:
        profile = call.profile
        task_id, kept = outgoing.message.id, profile.record != "none"
        waiter = self._inbox.expect(task_id, kept=kept) if profile.reply else None
        return Handle(task_id, profile.name, call.result, self._client, waiter=waiter, kept=kept)

    async def named(
        self, name: str, arguments: Mapping[str, Any], queue: str | Queue, options: SendOptions
    ) -> Handle[Any]:
        """Send a task by its wire name; see ``App.send``."""
        target = queue if isinstance(queue, str) else queue.name
        if not name or not target:
            raise ConfigurationError('send by name takes a name and a queue: app.send("add", {"a": 1}, queue="sums")')
        await self.declare([queue])
        settings = self._settings
        body = encode(dict(arguments), settings.content_type)
        if len(body) > settings.limits.body:
            raise EncodeError(f"arguments of {len(body)} bytes are over the limit of {settings.limits.body}")
        check_nesting(body, settings.content_type, settings.limits)
        call = Call(TaskProfile(name=name, queue=target), body, settings.content_type, options, any_result)
        return (await self.send([call], 1))[0]

    async def publish(self, events: Sequence[Event]) -> list[str]:
        """Publish events in one batch; returns their ids."""
        compose = self._composer.event
        outgoing = [compose(event.payload, event.exchange, event.routing_key, event.options) for event in events]
        await self.declare([event.exchange for event in events])
        await self._publisher.publish_or_raise(outgoing)
        return [message.message.id for message in outgoing]

    async def declare(self, mentioned: Iterable[object]) -> None:
        """Declare exchanges and queues that were given as objects and are not declared yet; names are left alone."""
        new = [item for item in mentioned if isinstance(item, Exchange | Queue) and modeless(item) not in self._known]
        if new:
            exchanges = tuple(dict.fromkeys(item for item in new if isinstance(item, Exchange)))
            queues = tuple(dict.fromkeys(item for item in new if isinstance(item, Queue)))
            addition = with_exchanges(Topology(self._app, exchanges=exchanges, queues=queues, mode=self._mode))
            validate(addition)
            await self._transport.apply(addition)
            self._known.update(map(modeless, new))
