"""A program as users have one: an app declared at import, on a broker that is not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from brokerkit import App, Context, Depends, Exchange, Log, Queue, Retry, RetryLater

app = App("amqp://guest:guest@broker.invalid/", store="postgresql://records.invalid/shop")
orders = Exchange("orders", type="topic")
seen: list[Any] = []


@dataclass
class OrderPlaced:
    order_id: str
    amount: float


class Bank:
    def charge(self, order_id: str) -> str:
        raise ConnectionError("this is a test")


def bank() -> Bank:
    return Bank()


@app.task(queue=Queue("payments", priorities=2))
async def charge(order_id: str, amount: float = 1.0, bank: Bank = Depends(bank)) -> str:
    return bank.charge(order_id)


@app.task
async def receipt(order_id: str) -> str:
    seen.append(f"receipt {order_id}")
    return order_id


@app.task(retry=Retry.exponential(max_retries=3, initial=3600, max_delay=86400, jitter=False))
async def flaky(ctx: Context, until: int) -> int:
    seen.append(f"attempt {ctx.attempt}")
    if ctx.attempt < until:
        raise ConnectionError("not yet")
    await ctx.send(receipt.message(f"of attempt {ctx.attempt}"))
    return ctx.attempt


@app.task(record="none", reply=False)
async def silent() -> None:
    seen.append("silent")


@app.task
async def countdown(number: int) -> int:
    return 0 if number == 0 else 1 + await (await countdown.send(number - 1)).result()


@app.task
async def never() -> None:
    raise RetryLater(10, counted=False)


@app.task
def sync(number: int) -> int:
    return 2 * number


@app.subscribe(Queue("eu-orders", bindings=[orders.bind("order.eu.*")]))
async def pack(event: OrderPlaced) -> None:
    seen.append(f"packing {event.order_id}")


@app.subscribe(Log("history", bindings=[orders.bind("order.#")]), group="billing")
async def bill(ctx: Context, event: OrderPlaced) -> None:
    await ctx.send(receipt.message(event.order_id))


async def place(order_id: str) -> None:
    """Code under test: sends and publishes."""
    await charge.options(delay=60, priority="high").send(order_id, 9.9)
    await app.publish(OrderPlaced(order_id, 9.9), exchange=orders, routing_key="order.eu.placed")
