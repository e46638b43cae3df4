"""Logs and the groups that read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from brokerkit.errors import MissingCapability
from brokerkit.topology.exchange import Binding
from brokerkit.topology.fields import as_tuple, canonical, name_of, seconds, time_text
from brokerkit.topology.options import Mode, RabbitMQOptions, RedisOptions
from brokerkit.topology.queue import DeadLetter, dead_letter_name, plain_dead_letter
from brokerkit.topology.retry import Retry
from brokerkit.topology.units import Bytes, Count, Seconds

Start = str | datetime
"""Where a new group begins."""

ENTRY = "[0-9]+-[0-9]+"
MOMENT = (
    "(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
"""A date, a time and a zone, as in https://www.rfc-editor.org/rfc/rfc3339#section-5.6; seconds may be left out."""
START = f"^(latest|earliest|{ENTRY}|{MOMENT})$"
"""What a start may say."""


def is_entry(start: str) -> bool:
    """Whether a start is the id of an entry, which only Redis has: ``1700000000000-0``."""
    return re.fullmatch(ENTRY, start) is not None


def is_start(start: str) -> bool:
    """Whether a text is a place where a group may begin."""
    if is_entry(start):
        return True
    try:
        start_time(start)
    except ValueError:
        return False
    return True


def start_time(start: str) -> float | None:
    """From which time on a new group reads: seconds since the epoch, 0 for ``earliest``, None for ``latest``.

    Args:
        start: A group's, canonical and not the id of an entry.

    Raises:
        ValueError: It is none of these, or has no time zone.
    """
    if start in ("latest", "earliest"):
        return None if start == "latest" else 0.0
    if not re.fullmatch(MOMENT, start):
        raise ValueError(f"{start} is no time with its zone")
    return datetime.fromisoformat(start).timestamp()


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
        history: Let a new group begin with the oldest entry, or at a time. Default False.
        rabbitmq: Settings only RabbitMQ has. Default None.
        redis: Settings only Redis has. Default None.
        mode: As for ``Queue``.
    """

    name: str
    bindings: tuple[Binding, ...] = ()
    retention: Seconds | None = None
    max_bytes: Bytes | None = None
    max_length: Count | None = None
    hold_for_groups: bool = False
    history: bool = False
    rabbitmq: RabbitMQOptions | None = None
    redis: RedisOptions | None = None
    mode: Mode | None = None

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
            mode: Mode | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, bindings=as_tuple, retention=seconds)


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readers that share a log's messages among themselves, each message once.

    Args:
        log: The log, or its name.
        name: The group's name, distinct within its log.
        start: Where a new group begins: ``latest``; or, on a log with ``history``, ``earliest``, a time (a
            ``datetime``, or its text with a time zone, ``2026-01-31T12:00:00+00:00``), or on Redis after the entry of
            an id. Default ``latest``.
        retry: The retry policy of subscribers that name none. Default None: the app's.
        max_deliveries: Starts of one message before it counts as crashing its workers and is dead-lettered.
            Default 5.
        timeout: Seconds one attempt may run, for subscribers that name none. Default None: no limit.
        dead_letter: True: ``<log>@<group>.dead``; False: none; or a ``DeadLetter``. Default True.
        mode: As for ``Queue``.
    """

    log: str
    name: str
    start: str = "latest"
    retry: Retry | None = None
    max_deliveries: Count = 5
    timeout: Seconds | None = None
    dead_letter: bool | DeadLetter = True
    mode: Mode | None = None

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
            mode: Mode | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, log=name_of, start=time_text, timeout=seconds, dead_letter=plain_dead_letter)

    @property
    def key(self) -> str:
        """What the group is known by in a topology: ``<log>@<name>``."""
        return f"{self.log}@{self.name}"

    @property
    def dead_letter_name(self) -> str | None:
        """The name of its dead-letter queue, None if it has none."""
        return dead_letter_name(self.key, self.dead_letter)

    @property
    def since(self) -> float | None:
        """From which time on it reads what the log has when it is new: seconds since the epoch, 0 for all of it, None
        for nothing.

        Raises:
            MissingCapability: It begins at an entry, of which only Redis tells the id.
        """
        if is_entry(self.start):
            raise MissingCapability(f"groups.{self.key}.start: only Redis knows entries by their id; give a time")
        return start_time(self.start)
