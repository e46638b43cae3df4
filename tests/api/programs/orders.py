import asyncio
from datetime import timedelta

import msgspec

from brokerkit import App, Context, Exchange, Log, Queue


class OrderPlaced(msgspec.Struct):
    order_id: str
    region: str


app = App("memory://")
orders = Exchange("orders", type="topic")
eu = Queue("eu-orders", bindings=[orders.bind("order.eu.*")])
history = Log("order-history", bindings=[orders.bind("order.#")], retention=timedelta(days=7))
seen: asyncio.Queue[str] = asyncio.Queue()


@app.task
async def charge(order_id: str, amount: float) -> None:
    seen.put_nowait(f"charged {order_id}: {amount:.2f}")


@app.subscribe(eu)
async def pack(event: OrderPlaced) -> None:
    seen.put_nowait(f"packed {event.order_id}")


@app.subscribe(history, group="fraud")
async def check(ctx: Context, event: OrderPlaced) -> None:
    await ctx.send(charge.message(event.order_id, 1.0))
    seen.put_nowait(f"checked {event.order_id} from {event.region}")


async def place() -> None:
    async with app, app.worker():
        await app.publish(
            OrderPlaced("o-1", "eu"), exchange=orders, routing_key="order.eu.placed", priority="high", delay=None
        )
        await app.publish(OrderPlaced("o-2", "us"), exchange=orders, routing_key="order.us.placed")
        print(*sorted([await seen.get() for _ in range(5)]), sep="\n")


if __name__ == "__main__":
    asyncio.run(place())
