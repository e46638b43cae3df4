"""Exchanges, and the bindings that lead from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from brokerkit.topology.fields import as_tuple, canonical, name_of, names_in, own_mapping
from brokerkit.topology.options import Mode, RabbitMQOptions

ExchangeType = Literal["direct", "topic", "fanout", "headers"]
HeaderMatch = Literal["all", "any"]
HeaderValue = str | int | float | bool | None


class Binding(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """Which messages of an exchange reach the queue, log or exchange that holds this binding.

    Args:
        exchange: The name of the exchange the messages come from.
        key: Direct: the exact routing key. Topic: a pattern of dot-separated words in which ``*`` stands for exactly
            one word and ``#`` for any number of words. Fanout and headers ignore it. Default ``""``.
        headers: Headers exchanges only: the values to compare with the message's headers; None as a value asks for
            presence only, and names that begin with ``x-`` are not compared. Default None.
        match: ``all`` or ``any`` of ``headers`` must agree. Default ``all``.
    """

    exchange: str
    key: str = ""
    headers: dict[str, HeaderValue] | None = None
    match: HeaderMatch = "all"

    if TYPE_CHECKING:

        def __init__(
            self,
            exchange: str | Exchange,
            key: str = "",
            headers: Mapping[str, HeaderValue] | None = None,
            match: HeaderMatch = "all",
        ) -> None: ...

    def __post_init__(self) -> None:
        _remember(self, "exchange")
        canonical(self, exchange=name_of, headers=own_mapping)

    def __hash__(self) -> int:
        return hash((self.exchange, self.key, names_in(self.headers), self.match))

    @property
    def source(self) -> Exchange | None:
        """The exchange object this binding was made from, None if made from a name; not part of the value."""
        return self.__dict__.get("exchange_object")


class Exchange(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """A place to publish to, which copies each message to whatever is bound to it.

    Args:
        name: Its name.
        type: ``direct`` (key equals), ``topic`` (key matches a pattern), ``fanout`` (everything) or ``headers``.
            Default ``direct``.
        durable: Whether it survives a restart of the broker. Default True.
        alternate: The exchange, or its name, that gets what nothing here matches. Default None: such a publish
            raises ``Unroutable``.
        bindings: Bindings to other exchanges: what they match flows into this exchange. Default none.
        rabbitmq: Settings only RabbitMQ has. Default None.
        mode: As for ``Queue``.
    """

    name: str
    type: ExchangeType = "direct"
    durable: bool = True
    alternate: str | None = None
    bindings: tuple[Binding, ...] = ()
    rabbitmq: RabbitMQOptions | None = None
    mode: Mode | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            type: ExchangeType = "direct",  # noqa: A002 - AMQP's word
            durable: bool = True,
            alternate: str | Exchange | None = None,
            bindings: Sequence[Binding] = (),
            rabbitmq: RabbitMQOptions | None = None,
            mode: Mode | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        _remember(self, "alternate")
        canonical(self, alternate=name_of, bindings=as_tuple)

    def bind(
        self, key: str = "", *, headers: Mapping[str, HeaderValue] | None = None, match: HeaderMatch = "all"
    ) -> Binding:
        """A binding to this exchange, for ``bindings=`` of a queue, a log or another exchange.

        Args:
            key: The routing key or topic pattern. Default ``""``.
            headers: For a headers exchange, the values to compare. Default None.
            match: Whether ``all`` or ``any`` of them must agree. Default ``all``.

        Returns:
            The binding, which remembers this object as its ``source``.
        """
        return Binding(self, key, headers, match)

    @property
    def alternate_source(self) -> Exchange | None:
        """The exchange object given as ``alternate``, None if it was given by name; not part of the value."""
        return self.__dict__.get("alternate_object")


def _remember(struct: Binding | Exchange, field: str) -> None:
    """Keep an exchange given as an object beside the value, so that an app can declare it (``with_exchanges``).

    Only its name is part of the value: a binding read from a file equals the one made in code.
    """
    given = getattr(struct, field)
    if isinstance(given, Exchange):
        struct.__dict__[f"{field}_object"] = given
