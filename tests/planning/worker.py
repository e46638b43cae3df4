"""A worker process whose every run leaves a line in a log outside the broker: ``python -m tests.planning.worker``."""

import asyncio
import os
import sys

from brokerkit import App, Exchange, Queue

LOG = os.environ.get("PLAN_LOG", os.devnull)
NAME = os.environ.get("PLAN_NAME", "plan")

orders = Exchange(f"{NAME}.orders", "topic")
work = Queue(f"{NAME}.work", [orders.bind("order.#")], type="classic", dead_letter=False)
app = App(os.environ.get("PLAN_URL", "memory://"), name=NAME, store=None)


@app.task(queue=work, name="job", reply=False)
async def job(number: str) -> None:
    await asyncio.sleep(0.004)
    note(number)


@app.subscribe(work)
async def event(payload: str) -> None:
    note(payload)


def note(word: str) -> None:
    """One write of one line: complete however the process ends."""
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{word}\n".encode())
    finally:
        os.close(file)


async def main() -> None:
    async with app, app.worker(concurrency=16, grace=5):
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
        loop.remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    asyncio.run(main())
