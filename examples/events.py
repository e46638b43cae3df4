"""Events by routing key: a queue takes some, and each group of a log sees all. Run me: python events.py"""

import asyncio
from dataclasses import dataclass

from brokerkit import App, Context, Exchange, Log, Queue, Unroutable


@dataclass
class OrderPlaced:
    order_id: str
    amount: float


app = App("sqlite:///events.db")
orders = Exchange("orders", type="topic")
history = Log("order-history", bindings=[orders.bind("order.#")])
printed = asyncio.Semaphore(0)  # how much has been printed


def say(text: str) -> None:
    print(text)
    printed.release()


@app.task
async def receipt(order_id: str) -> None:
    say(f"receipt for {order_id}")


@app.subscribe(Queue("eu-orders", bindings=[orders.bind("order.eu.*")]))
async def pack(event: OrderPlaced) -> None:
    say(f"packing {event.order_id}")


@app.subscribe(history, group="fraud")
async def check(event: OrderPlaced) -> None:
    say(f"checking {event.amount:.2f}")


@app.subscribe(history, group="billing")
async def bill(ctx: Context, event: OrderPlaced) -> None:
    await ctx.send(receipt.message(event.order_id))  # leaves when this handler has succeeded, or not at all
    say(f"billing {event.order_id} by {ctx.message.routing_key}")


async def main() -> None:
    async with app, app.worker():
        await app.publish(OrderPlaced("o-1", 19.90), exchange=orders, routing_key="order.eu.placed")
        await app.publish(OrderPlaced("o-2", 5.00), exchange=orders, routing_key="order.us.placed")
        try:
            await app.publish("o-3", exchange=orders, routing_key="refund.eu")
        except Unroutable:
            print("nobody wants refunds")
        for _ in range(7):
            await printed.acquire()


if __name__ == "__main__":
    asyncio.run(main())
