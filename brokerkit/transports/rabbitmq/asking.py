"""Asking the broker to declare and bind: one question at a time, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, Self

from brokerkit.errors import ConfigurationError, TopologyConflict, TopologyError
from brokerkit.transports.rabbitmq import errors
from brokerkit.transports.rabbitmq.conflicts import parse_inequivalent
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, QueuePlan

RESOURCE_LOCKED = 405


class Rpc(Protocol):
    """What is asked of an AMQP channel; aiormq's has these."""

    async def exchange_declare(
        self,
        exchange: str = "",
        *,
        exchange_type: str = "direct",
        passive: bool = False,
        durable: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> object: ...

    async def queue_declare(
        self, queue: str = "", *, passive: bool = False, durable: bool = False, arguments: dict[str, Any] | None = None
    ) -> object: ...

    async def exchange_bind(
        self,
        destination: str = "",
        source: str = "",
        routing_key: str = "",
        *,
        arguments: dict[str, Any] | None = None,
    ) -> object: ...

    async def queue_bind(
        self, queue: str, exchange: str, routing_key: str = "", *, arguments: dict[str, Any] | None = None
    ) -> object: ...

    async def exchange_unbind(
        self,
        destination: str = "",
        source: str = "",
        routing_key: str = "",
        *,
        arguments: dict[str, Any] | None = None,
    ) -> object: ...

    async def queue_unbind(
        self, queue: str, exchange: str = "", routing_key: str = "", arguments: dict[str, Any] | None = None
    ) -> object: ...

    async def queue_delete(self, queue: str = "", if_unused: bool = False, if_empty: bool = False) -> object: ...

    async def queue_purge(self, queue: str = "") -> object: ...

    async def exchange_delete(self, exchange: str = "", *, if_unused: bool = False) -> object: ...


class ThrowAwayChannel(Protocol):
    """A channel of nobody else: every refusal of the broker costs one."""

    @property
    def rpc(self) -> Rpc: ...

    async def close(self) -> None: ...


OpenChannel = Callable[[], Awaitable[ThrowAwayChannel]]


class NotPermitted(ConfigurationError):
    """The broker's user lacks a permission."""


class NotFound(TopologyError):
    """The broker does not know an exchange or queue that was named."""


class Asking:
    """Declarations over one channel, and over another whenever a refusal has cost it."""

    def __init__(self, open_channel: OpenChannel) -> None:
        self._open = open_channel
        self._channel: ThrowAwayChannel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def exists(self, kind: str, name: str) -> bool:
        """Whether an exchange or queue is there; asking creates nothing and needs no permission."""
        try:
            if kind == "exchange":
                await self._ask(lambda rpc: rpc.exchange_declare(name, passive=True), f"exchange {name}")
            else:
                await self._ask(lambda rpc: rpc.queue_declare(name, passive=True), f"queue {name}")
        except NotFound:
            return False
        return True

    async def count(self, queue: str) -> tuple[int, int] | None:
        """How many messages are ready in a queue, and how many consume it; None when it is not there."""
        try:
            found = await self._ask(lambda rpc: rpc.queue_declare(queue, passive=True), f"queue {queue}")
        except NotFound:
            return None
        return found.message_count or 0, found.consumer_count or 0

    async def unbind(self, binding: BindingPlan) -> None:
        """Unbind; what is not bound is no error."""
        source, target, key, given = binding.source, binding.destination, binding.key, dict(binding.arguments)
        try:
            if binding.to_queue:
                await self._ask(
                    lambda rpc: rpc.queue_unbind(target, source, key, arguments=given), f"binding {source} -> {target}"
                )
            else:
                await self._ask(
                    lambda rpc: rpc.exchange_unbind(target, source, key, arguments=given),
                    f"binding {source} -> {target}",
                )
        except NotFound:
            return

    async def delete_queue(self, name: str, *, if_empty: bool = False) -> None:
        """Delete a queue with all that it holds.

        Args:
            name: Its name.
            if_empty: Only while nothing is in it; never for a quorum queue, which ends the connection over it.
        """
        await self._ask(lambda rpc: rpc.queue_delete(name, if_empty=if_empty), f"queue {name}")

    async def purge(self, queue: str) -> None:
        """Throw away what is ready in a queue."""
        await self._ask(lambda rpc: rpc.queue_purge(queue), f"queue {queue}")

    async def delete_exchange(self, name: str, *, if_unused: bool = True) -> None:
        """Delete an exchange.

        Args:
            name: Its name.
            if_unused: Only while nothing is bound to it. Default True.
        """
        await self._ask(lambda rpc: rpc.exchange_delete(name, if_unused=if_unused), f"exchange {name}")

    async def declare(self, wanted: ExchangePlan | QueuePlan) -> None:
        """Create it, or compare it with what is there.

        Raises:
            TopologyConflict: It is there, with another value of the attribute that the broker chose to name.
        """
        given = dict(wanted.arguments)
        if isinstance(wanted, ExchangePlan):
            kind, durable = wanted.type, wanted.durable
            await self._ask(
                lambda rpc: rpc.exchange_declare(wanted.name, exchange_type=kind, durable=durable, arguments=given),
                f"exchange {wanted.name}",
                {"type": kind, "durable": durable, "auto_delete": False, "internal": False, **given},
            )
        else:
            await self._ask(
                lambda rpc: rpc.queue_declare(wanted.name, durable=True, arguments=given),
                f"queue {wanted.name}",
                {"durable": True, "auto_delete": False, "exclusive": False, **given},
            )

    async def bind(self, binding: BindingPlan) -> None:
        """Bind; binding twice is the same as once."""
        source, target, key, given = binding.source, binding.destination, binding.key, dict(binding.arguments)
        if binding.to_queue:
            await self._ask(
                lambda rpc: rpc.queue_bind(target, source, key, arguments=given), f"binding {source} -> queue {target}"
            )
        else:
            await self._ask(
                lambda rpc: rpc.exchange_bind(target, source, key, arguments=given),
                f"binding {source} -> exchange {target}",
            )

    async def _ask(
        self, question: Callable[[Rpc], Awaitable[Any]], entity: str, wanted: Mapping[str, Any] | None = None
    ) -> Any:
        if self._channel is None:
            self._channel = await self._open()
        try:
            return await question(self._channel.rpc)
        except Exception as error:
            closed = errors.closed_by(error)
            if closed is None:
                raise errors.while_running(error) from error
            self._channel = None  # the broker has closed it
            raise _meaning(closed, entity, wanted or {}) from error


def _meaning(closed: errors.Closed, entity: str, wanted: Mapping[str, Any]) -> Exception:
    """What it means that the broker closed the channel over a declaration."""
    differing = parse_inequivalent(closed.text)
    if differing is not None:
        return TopologyConflict(entity, differing.attribute, wanted.get(differing.attribute), differing.found)
    if closed.code == RESOURCE_LOCKED:
        return TopologyConflict(entity, "exclusive", wanted=False, found=True)
    if closed.code == errors.NOT_FOUND:
        return NotFound([f"{entity}: {closed.text}"])
    if closed.code == errors.ACCESS_REFUSED:
        return NotPermitted(
            f"{entity}: the broker's user may not declare it; grant the permission (configure for what it names; to "
            f"bind, write on the target and read on the source), or have the owner declare it and set mode='verify': "
            f"{closed.text}"
        )
    return ConfigurationError(f"{entity}: the broker does not take this declaration: {closed}")
