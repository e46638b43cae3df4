"""Which lane a priority belongs to, and what share of the work a lane gets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from brokerkit.topology.queue import Queue

PRIORITIES: Mapping[str, int] = MappingProxyType({"low": 2, "normal": 5, "high": 7, "critical": 9})
"""The named priorities; higher is more urgent."""

MAX_PRIORITY = 9
MAX_LANES = MAX_PRIORITY + 1

# With 2 and 3 lanes "normal" shares the lower or the middle lane, which even division (0-4 | 5-9) would not give.
_SMALL = {1: (0,) * 10, 2: (0,) * 6 + (1,) * 4, 3: (0,) * 4 + (1,) * 3 + (2,) * 3}


def priority_number(value: int | str) -> int:
    """The number of a priority.

    Args:
        value: 0 to 9, or ``low`` (2), ``normal`` (5), ``high`` (7), ``critical`` (9).

    Returns:
        0 to 9; higher is more urgent.

    Raises:
        ValueError: It is neither; the message lists what is taken.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PRIORITY:
        return value
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    raise ValueError(f"priority takes 0 to {MAX_PRIORITY} or one of {', '.join(PRIORITIES)}, not {value!r}")


def lane_of(priority: int, lanes: int) -> int:
    """The lane that serves a priority.

    Args:
        priority: 0 to 9.
        lanes: How many lanes the queue has, 1 to 10.

    Returns:
        The lane's index; 0 is the least urgent.

    Raises:
        ValueError: One of the two is out of range.
    """
    if not 0 <= priority <= MAX_PRIORITY:
        raise ValueError(f"priority takes 0 to {MAX_PRIORITY}, not {priority!r}")
    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"lanes takes 1 to {MAX_LANES}, not {lanes!r}")
    return _SMALL[lanes][priority] if lanes in _SMALL else priority * lanes // MAX_LANES


def lane_weights(queue: Queue) -> tuple[int, ...]:
    """The share of each lane of a queue, least urgent first: its ``weights``, else 1, 3, 6, 10, …."""
    if queue.weights is not None:
        return queue.weights
    return tuple((lane + 1) * (lane + 2) // 2 for lane in range(queue.lanes))
