"""A program to be tested: see test_orders.py beside it."""

from brokerkit import App, Context, Depends, Exchange, Queue, Retry

app = App("amqp://guest:guest@localhost/", store="postgresql://localhost/orders")  # neither is needed by the tests
events = Exchange("events", type="topic")


class Bank:
    async def charge(self, order_id: str, amount: float) -> str:
        raise NotImplementedError("talks to the real bank")


@app.task(queue=Queue("payments"), retry=Retry.exponential(max_retries=3, initial=60, max_delay=3600))
async def charge(order_id: str, amount: float, bank: Bank = Depends(Bank)) -> str:
    return await bank.charge(order_id, amount)


@app.task
async def remind(order_id: str) -> None: ...


@app.subscribe(Queue("placed", bindings=[events.bind("order.placed")]))
async def on_placed(ctx: Context, event: dict[str, str]) -> None:
    await ctx.send(remind.options(delay=86400).message(event["order_id"]))


async def place(order_id: str, amount: float) -> None:
    await charge.options(priority="high").send(order_id, amount)
    await app.publish({"order_id": order_id}, exchange=events, routing_key="order.placed")
