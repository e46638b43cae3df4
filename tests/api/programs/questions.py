import asyncio

from brokerkit import App, Cancel, Context, Queue, TaskCancelled, TaskStatus

app = App("memory://")
payments = Queue("payments", priorities=3)


@app.task(queue=payments, metadata={"shop": "eu"})
async def charge(ctx: Context, order_id: str) -> str:
    await ctx.progress(1.0, "done")
    return order_id


async def main() -> None:
    async with app:
        waits = await charge.options(delay=3600, priority="high").send("o-1")
        stats = await app.queue_stats("payments")
        print(
            stats.ready, stats.in_flight, stats.delayed, stats.dead, stats.consumers, [s.delayed for s in stats.lanes]
        )
        print(await app.status(waits.id) is TaskStatus.PENDING, await app.status("nobody"), await app.record("nobody"))
        print(await app.cancel(waits.id) is Cancel.CANCELLED, await waits.status())
        try:
            await waits.result()
        except TaskCancelled as error:
            print(error.task_id == waits.id)
        async with app.worker():
            handle = await charge.send("o-2")
            await handle.result()
            print(await handle.cancel() is Cancel.TOO_LATE)
        record = await app.record(handle.id)
        assert record is not None
        print(record.id == handle.id, record.name, record.queue, record.status, record.run, record.attempts)
        print(record.created > 0, record.started is not None, record.finished is not None, record.worker != "")
        print(record.progress, record.note, record.error, record.metadata)


if __name__ == "__main__":
    asyncio.run(main())
