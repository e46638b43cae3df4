import asyncio

from brokerkit import App, GiveUp, Queue, RetriesExhausted, Retry, RetryLater, TaskFailed

app = App("memory://")
payments = Queue("payments")


@app.task(queue=payments, retry=Retry.fixed(max_retries=3, delay=0.0, retry_on=(ConnectionError,)))
async def call(url: str) -> int:
    match url:
        case "later":
            raise RetryLater(0)
        case "never":
            raise GiveUp("no such host")
        case "down":
            raise ConnectionRefusedError("nobody listens")
        case _:
            return 200


async def main() -> None:
    async with app, app.worker():
        print(await (await call.send("up")).result())
        for url in ("down", "never", "later"):
            handle = await call.send(url)
            try:
                await handle.result()
            except TaskFailed as error:
                print(url, type(error) is RetriesExhausted, error.type, error.attempts, error.exhausted)
        print(*sorted(letter.reason for letter in await app.dead_letters("payments", limit=100)))
        print(await app.redrive("payments", ids=None))


if __name__ == "__main__":
    asyncio.run(main())
