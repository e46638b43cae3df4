"""Queues and their dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from brokerkit.topology.exchange import Binding
from brokerkit.topology.fields import as_tuple, canonical, seconds
from brokerkit.topology.options import Mode, RabbitMQOptions, RedisOptions
from brokerkit.topology.retry import Retry
from brokerkit.topology.units import Count, Seconds

QueueType = Literal["quorum", "classic"]
Lanes = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": 10})]


class DeadLetter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the messages go that are given up.

    Args:
        name: The dead-letter queue; it may be a declared queue, and several may share one. Default: the name of what
            the messages come from, followed by ``.dead``.
        ttl: Seconds an entry is kept. Default None: for ever.
        max_length: Most entries; a full dead-letter queue blocks, it never discards. Default None: no limit.
    """

    name: str | None = None
    ttl: Seconds | None = None
    max_length: Count | None = None

    if TYPE_CHECKING:

        def __init__(
            self, name: str | None = None, ttl: float | timedelta | None = None, max_length: int | None = None
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, ttl=seconds)


def plain_dead_letter(value: Any) -> Any:
    """``DeadLetter()`` as True, which means the same; anything else as it is."""
    return True if value == DeadLetter() else value


def dead_letter_name(owner: str, setting: bool | DeadLetter) -> str | None:
    """The dead-letter queue of a queue or group.

    Args:
        owner: The queue's name or the group's key.
        setting: Its ``dead_letter`` field.

    Returns:
        The name, or None if there is none.
    """
    named = setting.name if isinstance(setting, DeadLetter) else None
    return (named or f"{owner}.dead") if setting else None


class Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages waiting for one worker each.

    Args:
        name: Its name.
        bindings: Which exchanges' messages it gets, besides those sent to it by name. Default none.
        type: How RabbitMQ keeps it: ``quorum`` (a majority of nodes) or ``classic`` (one node). Default ``quorum``.
        priorities: The number of lanes, 1 to 10. Default 1.
        strict: Serve a lane only while every more urgent one is empty. Default False: by ``weights``.
        weights: The share of each lane, least urgent first, each at least 1. Default None: 1, 3, 6, 10, ….
        max_wait: Seconds after which a waiting message is served whatever its lane. Default None: never.
        retry: The retry policy of tasks that name none. Default None: the app's.
        max_deliveries: Starts of one message before it counts as crashing its workers and is dead-lettered.
            Default 5.
        dead_letter: True: ``<name>.dead``; False: none; or a ``DeadLetter``. Default True.
        max_length: Most waiting messages; a publish to a full queue raises ``QueueFull``. Default None: no limit.
        message_ttl: Seconds a message may wait before it expires. Default None: for ever.
        timeout: Seconds one attempt may run, for tasks that name none. Default None: no limit.
        single_active: Only one worker at a time consumes, the others stand by. Default False.
        mode: ``own`` creates what is missing, ``verify`` only compares, ``trust`` does not look. Default None: the
            topology's.
        rabbitmq: Settings only RabbitMQ has. Default None.
        redis: Settings only Redis has. Default None.
    """

    name: str
    bindings: tuple[Binding, ...] = ()
    type: QueueType = "quorum"
    priorities: Lanes = 1
    strict: bool = False
    weights: tuple[Count, ...] | None = None
    max_wait: Seconds | None = None
    retry: Retry | None = None
    max_deliveries: Count = 5
    dead_letter: bool | DeadLetter = True
    max_length: Count | None = None
    message_ttl: Seconds | None = None
    timeout: Seconds | None = None
    single_active: bool = False
    mode: Mode | None = None
    rabbitmq: RabbitMQOptions | None = None
    redis: RedisOptions | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            bindings: Sequence[Binding] = (),
            type: QueueType = "quorum",  # noqa: A002 - the broker's word
            priorities: int = 1,
            strict: bool = False,
            weights: Sequence[int] | None = None,
            max_wait: float | timedelta | None = None,
            retry: Retry | None = None,
            max_deliveries: int = 5,
            dead_letter: bool | DeadLetter = True,
            max_length: int | None = None,
            message_ttl: float | timedelta | None = None,
            timeout: float | timedelta | None = None,
            single_active: bool = False,
            mode: Mode | None = None,
            rabbitmq: RabbitMQOptions | None = None,
            redis: RedisOptions | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, bindings=as_tuple, weights=as_tuple, dead_letter=plain_dead_letter)
        canonical(self, max_wait=seconds, message_ttl=seconds, timeout=seconds)

    @property
    def dead_letter_name(self) -> str | None:
        """The name of its dead-letter queue, None if it has none."""
        return dead_letter_name(self.name, self.dead_letter)

    @property
    def lanes(self) -> int:
        """The number of its lanes: one per priority level."""
        return self.priorities
