"""Settings that only one kind of broker has."""

from __future__ import annotations

from typing import Literal

import msgspec

from brokerkit.topology.fields import canonical, names_in

Mode = Literal["own", "verify", "trust"]
"""Who declares an object: this program; somebody else, and it is compared; or somebody else, and nobody looks."""
Argument = str | int | float | bool


class RabbitMQOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only RabbitMQ understands.

    Args:
        arguments: Further ``x-`` arguments of the declaration (``{"x-quorum-initial-group-size": 5}``), sent as
            they are. Default none.
        native_priority: Let the broker order the messages of one queue instead of keeping one queue per lane. Only
            for queues; which priorities it tells apart depends on the broker's version. Default False.
    """

    arguments: dict[str, Argument] = {}
    native_priority: bool = False

    def __post_init__(self) -> None:
        canonical(self, arguments=lambda given: dict(given) if isinstance(given, dict) else given)

    def __hash__(self) -> int:
        return hash((names_in(self.arguments), self.native_priority))


class RedisOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only Redis understands.

    Args:
        hash_tag: The part of the keys that decides their slot in a cluster, without braces. Queues and logs of one
            tag live in one slot, so that one message reaches all of them atomically. Default: the object's own name.
    """

    hash_tag: str | None = None
