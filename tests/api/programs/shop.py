import asyncio

from brokerkit import App, Context, Queue, Retry

app = App("sqlite:///shop.db")
payments = Queue("payments", priorities=3)


@app.task(queue=payments, retry=Retry.exponential(max_retries=5, initial=0.2, max_delay=30), timeout=10)
async def charge(ctx: Context, order_id: str, amount: float) -> str:
    await ctx.progress(0.5, "talking to the bank")
    return f"charged {order_id}: {amount:.2f} (attempt {ctx.attempt})"


async def main() -> None:
    async with app, app.worker(concurrency=8):
        handle = await charge.send("o-1", 19.90)
        print(handle.id, await handle.result(timeout=10))
        late = await charge.options(delay=0.5, priority="high").send("o-2", 5.0)
        print(await late.status(), await late.result())
        handles = await app.send_many([charge.message(f"o-{n}", 1.0) for n in range(100)])
        print(len([await h.result(timeout=30) for h in handles]))


if __name__ == "__main__":
    asyncio.run(main())
