"""Another service: packs what was placed, urgent orders first, and keeps books on everything.

A worker is a process of its own, or several: brokerkit worker warehouse:app
"""

from dataclasses import dataclass
from typing import Any

from brokerkit import App, Context, Exchange, Log, Queue

app = App(name="warehouse")  # the broker in BROKERKIT_URL: amqp://guest:guest@localhost/
orders = Exchange("orders", type="topic")  # the shop declares it too; whoever comes first creates it
packing = Queue("packing", bindings=[orders.bind("order.*.placed")], priorities=2)
history = Log("order-history", bindings=[orders.bind("order.#")])


@dataclass
class Order:
    id: str
    lines: int


@app.subscribe(packing)
async def pack(order: Order) -> None:
    print(f"packing {order.id}, {order.lines} lines", flush=True)


@app.subscribe(history, group="books")  # each group of a log gets every message once, however many workers it has
async def write_down(ctx: Context, event: dict[str, Any]) -> None:
    print(f"books: {event['id']} {ctx.message.routing_key}", flush=True)
