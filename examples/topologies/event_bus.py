"""Events, a queue and two groups from a file; what nobody wants is kept. Run me: python event_bus.py"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from brokerkit import App

app = App("sqlite:///event_bus.db", topology=Path(__file__).parents[2] / "topologies" / "event-bus.yaml")
printed = asyncio.Semaphore(0)


@dataclass
class Order:
    id: str


def say(text: str) -> None:
    print(text)
    printed.release()


@app.subscribe("eu-packing")
async def pack(order: Order) -> None:
    say(f"packing {order.id}")


@app.subscribe("orders", group="billing")
async def bill(order: Order) -> None:
    say(f"billing {order.id}")


@app.subscribe("orders", group="search")
async def index(order: Order) -> None:
    say(f"indexing {order.id}")


async def main() -> None:
    async with app, app.worker():
        await app.publish(Order("o-1"), exchange="events", routing_key="order.eu.placed")
        await app.publish(Order("o-2"), exchange="events", routing_key="order.us.placed")
        await app.publish("r-1", exchange="events", routing_key="refund.eu")  # nobody wants these yet
        for _ in range(5):
            await printed.acquire()
        print("unrouted:", (await app.queue_stats("events.unrouted")).ready)


if __name__ == "__main__":
    asyncio.run(main())
