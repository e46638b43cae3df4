"""Failures: retried, given up, looked at, sent back. Run me: python retries.py"""

import asyncio

from brokerkit import App, Context, GiveUp, Queue, RetriesExhausted, Retry, RetryLater, TaskFailed

app = App("sqlite:///retries.db")
payments = Queue("payments")
bank_open, charged = asyncio.Event(), asyncio.Event()


@app.task(queue=payments, retry=Retry.exponential(max_retries=2, initial=0.05, max_delay=1, retry_on=ConnectionError))
async def charge(ctx: Context, order_id: str) -> str:
    if order_id == "stolen":
        raise GiveUp("the card is stolen")  # no retry would help
    if order_id == "busy" and ctx.message.postponed == 0:
        raise RetryLater(0.1, counted=False)  # not now: no attempt is used up
    if order_id == "o-1" and not bank_open.is_set():
        raise ConnectionError("the bank is closed")  # retried as the policy says
    charged.set()
    return f"{order_id} charged in run {ctx.run}, attempt {ctx.attempt}"


async def main() -> None:
    async with app:
        async with app.worker():
            print(await (await charge.send("busy")).result())
            for order_id in ("o-1", "stolen"):
                try:
                    await (await charge.send(order_id)).result()
                except RetriesExhausted as error:
                    print(f"{order_id}: {error} after {error.attempts} attempts")
                except TaskFailed as error:
                    print(f"{order_id}: {error}")

            letters = await app.dead_letters("payments")
            for letter in letters:
                print("dead:", letter.reason, "|", letter.error)

            bank_open.set()
            charged.clear()
            print(await app.redrive("payments", ids=[letters[0].message.id]), "sent back")
            await charged.wait()
        record = await app.record(letters[0].message.id)  # the worker has finished what it ran
        if record is not None:
            print(record.status, "in run", record.run)


if __name__ == "__main__":
    asyncio.run(main())
