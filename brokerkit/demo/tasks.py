"""The app of the demo: ``brokerkit worker brokerkit.demo.tasks:app``. Its broker comes from ``BROKERKIT_URL``."""

from __future__ import annotations

import asyncio
import os

import msgspec

from brokerkit import App, Context, Exchange, Log, Queue, Retry
from brokerkit.demo.journal import journaled

WORK = 0.04
"""Seconds one task takes."""
_SIGKILL = 9  # the signal module belongs to the command line

app = App(name="demo")

thumbnails = Queue("thumbnails", priorities=3)
payments = Queue("payments", retry=Retry.fixed(max_retries=3, delay=0.3))
reminders = Queue("reminders")
uploads = Queue("uploads", max_deliveries=2)

orders = Exchange("orders", type="topic")
warehouse = Queue("warehouse-eu", bindings=[orders.bind("order.eu.*")])
history = Log("order-history", bindings=[orders.bind("order.#")])


class OrderPlaced(msgspec.Struct):
    """An event."""

    number: int
    region: str


@app.task(queue=thumbnails, reply=False)
async def make_thumbnail(ctx: Context, number: int) -> int:
    """Ordinary work, of three priorities."""
    with journaled(ctx):
        await asyncio.sleep(WORK)
        return number


@app.task(queue=payments, reply=False)
async def charge(ctx: Context, number: int, failures: int) -> str:
    """Fails a given number of times, then succeeds."""
    with journaled(ctx):
        await asyncio.sleep(WORK)
        if ctx.attempt <= failures:
            raise ConnectionError(f"the bank does not answer (attempt {ctx.attempt})")
        return f"order {number} paid"


@app.task(queue=reminders, reply=False)
async def remind(ctx: Context, number: int) -> int:
    """Sent with a delay."""
    with journaled(ctx):
        return number


@app.task(queue=uploads, reply=False)
async def unpack(ctx: Context, name: str) -> None:
    """The poison task: its archive kills the process that opens it, as a fault in a C library would."""
    with journaled(ctx):
        os.kill(os.getpid(), _SIGKILL)


@app.subscribe(warehouse)
async def pack(ctx: Context, event: OrderPlaced) -> None:
    """Orders from Europe only, by their routing key."""
    with journaled(ctx):
        await asyncio.sleep(WORK)


@app.subscribe(history, group="fraud")
async def check(ctx: Context, event: OrderPlaced) -> None:
    """Every order, once for this consumer group."""
    with journaled(ctx):
        await asyncio.sleep(WORK)
