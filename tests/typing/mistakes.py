"""What a type checker must refuse: every line that ends in ``# wrong``, and no other. Never run."""

from __future__ import annotations

from brokerkit import App, Call, Context, Exchange, Handle, Queue, Tasks

app = App("memory://")
tasks = Tasks()
orders = Exchange("orders", type="topic")


@app.task(queue="payments", timeout=10)
async def charge(ctx: Context, order_id: str, amount: float) -> str:
    return order_id


@tasks.task
def sync(order_id: str, *, fast: bool = False) -> int:
    return 1


async def main(ctx: Context) -> None:
    await charge.send("o-1", "much")  # wrong
    await charge.send(1, 1.0)  # wrong
    await charge.send("o-1")  # wrong
    await charge.send("o-1", 1.0, 2.0)  # wrong
    await charge.send(ctx, "o-1", 1.0)  # wrong
    await charge.send("o-1", amuont=1.0)  # wrong
    await sync.send("o-1", True)  # wrong
    await sync.send("o-1", fast="yes")  # wrong
    charge.message(order_id=1, amount=1.0)  # wrong
    await charge.options(delay=1).send("o-1", "much")  # wrong
    charge.options(dely=1)  # wrong
    charge.options(delay="soon")  # wrong
    charge.options(headers={"a": [1]})  # wrong
    app.task(nme="charge")  # wrong
    app.task(record="everything")  # wrong
    tasks.task(priority=1.5)  # wrong
    sync(1)  # wrong
    await charge("o-1", 1.0)  # wrong
    await app.send("charge", {"order_id": "o-1"})  # wrong
    await app.publish({"a": 1})  # wrong
    await app.publish({"a": 1}, exchange=orders, dely=1)  # wrong
    app.subscribe(Queue("eu"), grup="fraud")  # wrong

    number: int = await (await charge.send("o-1", 1.0)).result()  # wrong
    handle: Handle[int] = await charge.send("o-1", 1.0)  # wrong
    call: Call[int] = charge.message("o-1", 1.0)  # wrong
    right: Call[object] = charge.message("o-1", 1.0)
    print(number, handle, call, right)
