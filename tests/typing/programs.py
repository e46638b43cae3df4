"""What a type checker must see in programs as users write them; read by the checkers, never run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, reveal_type

from brokerkit import App, Call, Context, Event, Exchange, Handle, Log, Queue, Retry, Tasks

app = App("memory://")
payments = Queue("payments", priorities=3)
orders = Exchange("orders", type="topic")
tasks = Tasks()


@app.task(queue=payments, retry=Retry.exponential(max_retries=5, initial=0.2, max_delay=30), timeout=10)
async def charge(ctx: Context, order_id: str, amount: float) -> str:
    return f"{order_id} {amount} {ctx.attempt}"


@app.task
async def plain(number: int) -> list[int]:
    return [number]


@app.task
async def only_context(ctx: Context) -> None: ...


@app.task()
def sync(order_id: str, *, fast: bool = False) -> bytes:
    return b""


@app.task
def sync_context(ctx: Context, number: int = 1) -> int:
    return number


@tasks.task
async def collected(ctx: Context, order_id: str) -> float:
    return 1.0


@tasks.task(record="full", priority="high", metadata={"shop": "eu"})
def collected_sync(order_id: str) -> float | None:
    return None


@app.subscribe(Queue("eu", bindings=[orders.bind("order.eu.*")]))
async def pack(event: dict[str, str]) -> None: ...


@app.subscribe(Log("history"), group="fraud")
async def check(ctx: Context, event: dict[str, str]) -> None:
    reveal_type(await ctx.send(charge.message("o-1", 1.0)))  # str


async def main(ctx: Context) -> None:
    reveal_type(charge.send)  # (order_id: str, amount: float) -> Coroutine[Handle[str]]
    reveal_type(plain.send)  # (number: int) -> Coroutine[Handle[list[int]]]
    reveal_type(only_context.send)  # () -> Coroutine[Handle[None]]
    reveal_type(sync.send)  # (order_id: str, *, fast: bool = ...) -> Coroutine[Handle[bytes]]
    reveal_type(sync_context.send)  # (number: int = ...) -> Coroutine[Handle[int]]
    reveal_type(collected.send)  # (order_id: str) -> Coroutine[Handle[float]]
    reveal_type(collected_sync.send)  # (order_id: str) -> Coroutine[Handle[float | None]]
    reveal_type(charge.options(delay=5, priority="high").send)  # (order_id: str, amount: float) -> Coroutine[Handle[str]]

    handle = await charge.send("o-1", 19.90)
    reveal_type(handle)  # Handle[str]
    reveal_type(await handle.result(timeout=10))  # str
    reveal_type(await handle.status())  # TaskStatus | None
    reveal_type(await handle.record())  # TaskRecord | None
    reveal_type(await handle.cancel())  # Cancel
    reveal_type(await (await charge.options(delay=0.5).send("o-2", 5.0)).result())  # str
    reveal_type(await (await sync.send("o-1", fast=True)).result())  # bytes
    reveal_type(await (await only_context.send()).result())  # None

    reveal_type(charge.message("o-1", 1.0))  # Call[str]
    reveal_type(plain.options(expires=60).message(1))  # Call[list[int]]
    reveal_type(await app.send(charge.message("o-1", 1.0)))  # Handle[str]
    reveal_type(await app.send("charge", {"order_id": "o-1"}, queue="payments", priority=3))  # Handle[Any]
    reveal_type(await app.send_many([charge.message(f"o-{n}", 1.0) for n in range(100)]))  # list[Handle[str]]

    reveal_type(await app.publish({"a": 1}, exchange=orders, routing_key="order.eu", delay=None))  # str
    reveal_type(await app.publish_many([Event({"a": 1}, exchange=orders, headers={"a": 1})]))  # list[str]
    reveal_type(await app.record(handle.id))  # TaskRecord | None
    reveal_type((await app.queue_stats("payments")).ready)  # int | None
    reveal_type(await app.redrive("payments", ids=None))  # int

    reveal_type(await charge(ctx, "o-1", 1.0))  # str
    reveal_type(sync("o-1", fast=True))  # bytes
    reveal_type(sync_context(ctx, 2))  # int


async def these_are_right() -> None:
    """Covariance, and functions that keep their types: a checker that complains here is wrong or the types are."""
    calls: list[Call[object]] = [charge.message("o-1", 1.0), plain.message(1), sync.message("o-1")]
    handles: list[Handle[object]] = await app.send_many(calls)
    wider: Handle[str | None] = await charge.send("o-1", 1.0)
    mixed = await app.send_many([charge.message("o-1", 1.0), sync_context.message(1)])
    packing: Callable[[dict[str, str]], Coroutine[Any, Any, None]] = pack
    await app.send_many([charge.options(priority=n).message("o-1", 1) for n in range(3)])
    print(handles, wider, mixed, packing)
