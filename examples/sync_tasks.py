"""Plain functions run in threads, beside each other. Run me: python sync_tasks.py"""

import asyncio
import hashlib

from brokerkit import App, Context, Retry, TaskTimedOut

app = App("memory://")


@app.task
def checksum(ctx: Context, text: str, rounds: int = 50_000) -> str:
    for part in range(4):
        ctx.progress_nowait(part / 4, f"part {part} of 4")
        text = hashlib.pbkdf2_hmac("sha256", text.encode(), b"salt", rounds).hex()
    return text


@app.task(timeout=0.1, retry=Retry.none())
def stubborn(ctx: Context) -> None:
    while not ctx.wait_cancelled(0.01):  # a thread cannot be killed: it looks whether it should stop
        pass


async def main() -> None:
    async with app, app.worker(sync_threads=4):
        handles = [await checksum.send(text) for text in ("a", "b", "c")]
        for handle in handles:
            print((await handle.result())[:8])
        try:
            await (await stubborn.send()).result(timeout=30)
        except TaskTimedOut as error:
            print("stubborn:", str(error).partition(": ")[2])


if __name__ == "__main__":
    asyncio.run(main())
