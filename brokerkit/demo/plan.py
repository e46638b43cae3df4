"""What the demo sends, and what must become of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from brokerkit import App, Call, Event
from brokerkit.demo.tasks import OrderPlaced, charge, history, make_thumbnail, orders, remind, unpack, warehouse

Key = tuple[str, str]
"""Source and id: an event is one message with one id in several places."""

URGENT, NORMAL, LOW = 150, 300, 300
PAYMENTS, REMINDERS, EVENTS = 120, 120, 100
LONGEST_DELAY = 3.0


class Part(msgspec.Struct):
    """One row of the final table.

    Args:
        title: Its words.
        keys: What was sent.
        poison: It must end in the dead-letter queue.
        tasks: Tasks, which have records; events have none.
    """

    title: str
    keys: set[Key]
    poison: bool = False
    tasks: bool = True


async def send(app: App) -> list[Part]:
    """Send everything but the poison."""
    parts = [
        await _tasks(app, "thumbnails, low priority", [_thumbnail(n, "low") for n in range(LOW)]),
        await _tasks(app, "thumbnails, normal priority", [_thumbnail(n, "normal") for n in range(NORMAL)]),
        await _tasks(app, "thumbnails, high priority", [_thumbnail(n, "high") for n in range(URGENT)]),
        await _tasks(app, "payments that fail once or twice", [charge.message(n, 1 + n % 2) for n in range(PAYMENTS)]),
        await _tasks(app, f"reminders, delayed 1 to {LONGEST_DELAY:g} s", [_reminder(n) for n in range(REMINDERS)]),
    ]
    return [*parts, *await _events(app)]


async def send_poison(app: App) -> Part:
    """Send the task that kills whoever runs it."""
    part = await _tasks(app, "poison: kills its worker", [unpack.message("bomb.zip")])
    return msgspec.structs.replace(part, poison=True)


def _thumbnail(number: int, priority: str) -> Call[int]:
    return make_thumbnail.options(priority=priority).message(number)


def _reminder(number: int) -> Call[int]:
    delay = 1.0 + (LONGEST_DELAY - 1.0) * number / (REMINDERS - 1)
    return remind.options(delay=delay).message(number)


async def _tasks(app: App, title: str, calls: Sequence[Call[Any]]) -> Part:
    handles = await app.send_many(calls)
    queue = calls[0].profile.queue
    return Part(title, {(queue, handle.id) for handle in handles})


async def _events(app: App) -> list[Part]:
    regions = ["eu" if number % 2 else "us" for number in range(EVENTS)]
    ids = await app.publish_many(
        Event(OrderPlaced(number, region), exchange=orders, routing_key=f"order.{region}.placed")
        for number, region in enumerate(regions)
    )
    europe = {(warehouse.name, each) for each, region in zip(ids, regions, strict=True) if region == "eu"}
    return [
        Part("events order.eu.*, to a queue", europe, tasks=False),
        Part("events order.#, to a group of a log", {(f"{history.name}@fraud", each) for each in ids}, tasks=False),
    ]
