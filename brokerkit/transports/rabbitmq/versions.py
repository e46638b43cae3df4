"""What differs between RabbitMQ's versions, and what each refuses or silently ignores.

Versions are (major, minor). What a version can do is taken from its number, never from a declaration that succeeded:
RabbitMQ accepts arguments that it does not know. https://www.rabbitmq.com/docs/quorum-queues
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from brokerkit.errors import MissingCapability
from brokerkit.topology import MAX_PRIORITY, QueueType

Version = tuple[int, int]

OLDEST: Version = (3, 10)
"""The first version whose quorum queues expire messages and dead-letter them without loss."""

LONGEST_TTL = 315_360_000_000
"""Milliseconds, ten years: the broker refuses more with ``value_too_large``."""

LONGEST_NAME = 255
"""Bytes: an AMQP short string."""


def parse_version(text: str) -> Version:
    """The version of a server's ``version`` property (``3.10.8``, ``4.1.0-rc.1``).

    Raises:
        MissingCapability: It is older than 3.10, or no version at all.
    """
    found = re.match(r"(\d+)\.(\d+)", text)
    if found is None:
        raise MissingCapability(f"the server says that its version is {text!r}; brokerkit needs RabbitMQ 3.10 or newer")
    version = int(found[1]), int(found[2])
    check_supported(version)
    return version


def check_supported(version: Version) -> None:
    """Refuse a version whose dead-lettering may lose messages.

    Raises:
        MissingCapability: It is older than 3.10.
    """
    if version < OLDEST:
        raise MissingCapability(f"RabbitMQ {name_of(version)} is too old; brokerkit needs 3.10 or newer")


def has_delivery_limit(version: Version) -> bool:
    """Whether quorum queues drop what was delivered 20 times unless told otherwise, and understand -1 for no limit."""
    return version >= (4, 0)


def compares_types(version: Version) -> bool:
    """Whether a headers exchange tells the number 1 from 1.0; measured: 3.10 does not, 4.3 does."""
    return version >= (3, 13)


def most_hashes(version: Version) -> float:
    """How many words of a topic pattern may be ``#``; measured: 4.3.6 refuses a third, 3.10 takes any number."""
    return 2 if version >= (4, 3) else math.inf


def largest_message(version: Version) -> int:
    """Most bytes of a body unless the operator changed it."""
    return (16 if version >= (4, 0) else 128) * 1024 * 1024


def quorum_priorities(version: Version) -> int:
    """How many priorities a quorum queue tells apart by itself."""
    if version >= (4, 3):
        return 32
    return 2 if version >= (4, 0) else 1


def native_priority(version: Version, kind: QueueType, priority: int) -> int:
    """The AMQP priority of a message in a queue of native priority.

    Args:
        version: The broker's.
        kind: The queue's type.
        priority: 0..9; one out of range counts as the nearest.

    Returns:
        The same number, except where a quorum queue tells only two priorities apart: it parts them after 4, so the
        normal priority, 5, becomes 4 lest it be as urgent as the high ones.
    """
    number = min(max(priority, 0), MAX_PRIORITY)
    return 4 if number == 5 and kind == "quorum" and quorum_priorities(version) == 2 else number


def native_priority_problem(version: Version, kind: QueueType) -> str | None:
    """Why the broker cannot order the messages of such a queue, or None."""
    if kind == "quorum" and quorum_priorities(version) == 1:
        return f"quorum queues have no priorities on RabbitMQ {name_of(version)}; use lanes, or type='classic'"
    return None


def native_priority_warning(version: Version, kind: QueueType) -> str | None:
    """What to expect of native priority, or None."""
    if kind == "classic":
        return f"a classic queue keeps {MAX_PRIORITY + 1} queues inside for its priorities; lanes cost less memory"
    if quorum_priorities(version) == 2:
        return (
            f"quorum queues of RabbitMQ {name_of(version)} tell two priorities apart, up to 5 and above, served 2:1 "
            f"in favour of the urgent; 4.3 tells all apart, and so do lanes"
        )
    return None


def argument_problems(arguments: Mapping[str, object], kind: QueueType, version: Version) -> Iterator[tuple[str, str]]:
    """Which of a queue's further arguments the broker would refuse, and why.

    Args:
        arguments: As the user gave them.
        kind: The queue's type.
        version: The broker's.
    """
    if kind == "quorum" and arguments.get("x-overflow") == "reject-publish-dlx":
        yield "x-overflow", "quorum queues do not know reject-publish-dlx; use reject-publish"
    if version >= (4, 3):
        if "x-queue-mode" in arguments:
            yield "x-queue-mode", f"RabbitMQ {name_of(version)} has only one mode and refuses this; remove it"
        if arguments.get("x-queue-version") == 1:
            yield "x-queue-version", f"RabbitMQ {name_of(version)} has only version 2; remove it"
    for name in ("x-expires", "x-consumer-timeout"):
        value = arguments.get(name)
        if isinstance(value, (int, float)) and value > LONGEST_TTL:
            yield name, f"takes at most {LONGEST_TTL} ms (ten years), not {value}"


def argument_warnings(arguments: Mapping[str, object], kind: QueueType, version: Version) -> Iterator[tuple[str, str]]:
    """Which of a queue's further arguments do what nobody may have meant, and what; as for ``argument_problems``."""
    for beginning, since in (("x-delayed-retry-", (4, 3)), ("x-consumer-timeout", (3, 12))):
        ineffective = f"RabbitMQ {name_of(version)} takes it and does nothing; it works from {name_of(since)} on"
        if version < since:
            yield from ((name, ineffective) for name in arguments if name.startswith(beginning))
    if "x-expires" in arguments:
        yield "x-expires", "the queue is deleted with the messages in it when nobody has used it for that long"
    if arguments.get("x-overflow") == "drop-head":
        yield "x-overflow", "drop-head removes the oldest messages to make room, and makes dead-lettering lose some"
    if arguments.get("x-dead-letter-strategy") == "at-most-once":
        yield "x-dead-letter-strategy", "at-most-once loses dead letters whenever their queue cannot take them"


def name_of(version: Version) -> str:
    """A version as text."""
    return f"{version[0]}.{version[1]}"
