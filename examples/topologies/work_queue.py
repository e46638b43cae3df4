"""A queue with lanes from a file: what is urgent overtakes, what keeps failing is dead. Run me: python work_queue.py"""

import asyncio
from pathlib import Path

from brokerkit import App, RetriesExhausted

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "work-queue.yaml"
app = App("sqlite:///work_queue.db", topology=TOPOLOGY, topology_env="development")


@app.task(queue="jobs")
async def resize(picture: str) -> str:
    if picture == "broken.png":
        raise ValueError("this is no picture")
    print("resized", picture)
    return picture


async def main() -> None:
    async with app:
        await resize.send("album-1.png")
        await resize.options(priority="low").send("archive.png")
        await resize.options(priority="high").send("avatar.png")  # sent last, done first
        async with app.worker(concurrency=1):
            try:
                await (await resize.send("broken.png")).result(timeout=30)
            except RetriesExhausted as error:
                print("broken.png:", error, "after", error.attempts, "attempts")
        for letter in await app.dead_letters("jobs"):
            print("dead:", letter.error)


if __name__ == "__main__":
    asyncio.run(main())
