"""Logs and the groups that read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from brokerkit.topology.exchange import Binding
from brokerkit.topology.fields import as_tuple, canonical, name_of, seconds
from brokerkit.topology.options import RabbitMQOptions, RedisOptions
from brokerkit.topology.queue import DeadLetter, dead_letter_name, plain_dead_letter
from brokerkit.topology.retry import Retry

Start = Literal["latest", "earliest"]


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A retained sequence of messages that each group reads in full.

    Args:
        name: Its name.
        bindings: Which exchanges' messages it keeps. Default none.
        retention: Seconds an entry is kept. Default None: for ever.
        max_bytes: Most bytes kept; the oldest entries go first. Default None: no limit.
        max_length: Most entries kept; the oldest go first. Default None: no limit.
        hold_for_groups: Keep what a group has not read even beyond the limits; needs ``max_bytes`` or
            ``max_length``, at which publishing is refused. Default False: the limits win, and the loss is counted.
        history: Let a new group begin with the oldest entry (``start="earliest"``). Default False.
        rabbitmq: Settings only RabbitMQ has. Default None.
        redis: Settings only Redis has. Default None.
    """

    name: str
    bindings: tuple[Binding, ...] = ()
    retention: float | None = None
    max_bytes: int | None = None
    max_length: int | None = None
    hold_for_groups: bool = False
    history: bool = False
    rabbitmq: RabbitMQOptions | None = None
    redis: RedisOptions | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            bindings: Sequence[Binding] = (),
            retention: float | timedelta | None = None,
            max_bytes: int | None = None,
            max_length: int | None = None,
            hold_for_groups: bool = False,
            history: bool = False,
            rabbitmq: RabbitMQOptions | None = None,
            redis: RedisOptions | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, bindings=as_tuple, retention=seconds)


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readers that share a log's messages among themselves, each message once.

    Args:
        log: The log, or its name.
        name: The group's name, distinct within its log.
        start: Where a new group begins: ``latest``, or ``earliest`` on a log with ``history``. Default ``latest``.
        retry: The retry policy of subscribers that name none. Default None: the app's.
        max_deliveries: Starts of one message before it counts as crashing its workers and is dead-lettered.
            Default 5.
        timeout: Seconds one attempt may run, for subscribers that name none. Default None: no limit.
        dead_letter: True: ``<log>@<group>.dead``; False: none; or a ``DeadLetter``. Default True.
    """

    log: str
    name: str
    start: Start = "latest"
    retry: Retry | None = None
    max_deliveries: int = 5
    timeout: float | None = None
    dead_letter: bool | DeadLetter = True

    if TYPE_CHECKING:

        def __init__(
            self,
            log: str | Log,
            name: str,
            start: Start = "latest",
            retry: Retry | None = None,
            max_deliveries: int = 5,
            timeout: float | timedelta | None = None,
            dead_letter: bool | DeadLetter = True,
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, log=name_of, timeout=seconds, dead_letter=plain_dead_letter)

    @property
    def key(self) -> str:
        """What the group is known by in a topology: ``<log>@<name>``."""
        return f"{self.log}@{self.name}"

    @property
    def dead_letter_name(self) -> str | None:
        """The name of its dead-letter queue, None if it has none."""
        return dead_letter_name(self.key, self.dead_letter)
