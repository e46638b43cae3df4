"""What has arrived and waits to be asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brokerkit.delivery import Delivery, Lane


def split(
    stash: Sequence[Delivery], limit: Mapping[Lane, int], most: Mapping[str, int]
) -> tuple[list[Delivery], list[Delivery]]:
    """What is asked for, and what goes on waiting, both in order; what was lost is in neither.

    Args:
        stash: What waits.
        limit: How many of each lane are asked for.
        most: How many of a source altogether, by its key.
    """
    left, bounds = dict(limit), dict(most)
    found: list[Delivery] = []
    rest: list[Delivery] = []
    for delivery in stash:
        if delivery.lost:
            continue
        room, bound = left.get(delivery.lane, 0), bounds.get(delivery.lane.source, 1)
        if room <= 0 or bound <= 0:
            rest.append(delivery)
            continue
        found.append(delivery)
        left[delivery.lane] = room - 1
        if delivery.lane.source in bounds:
            bounds[delivery.lane.source] = bound - 1
    return found, rest
