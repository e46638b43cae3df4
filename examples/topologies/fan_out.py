"""One upload for several queues, by key and headers; nothing falls beside the road. Run me: python fan_out.py"""

import asyncio
from pathlib import Path

from brokerkit import App, GiveUp

app = App("sqlite:///fan_out.db", topology=Path(__file__).parents[2] / "topologies" / "fan-out.yaml")
handled = asyncio.Semaphore(0)


def say(text: str) -> None:
    print(text)
    handled.release()


@app.subscribe("virus-scan")
async def scan(file: str) -> None:
    say(f"scanned {file}")


@app.subscribe("thumbnails")
async def shrink(file: str) -> None:
    if file == "huge.png":
        say(f"{file} is too large")
        raise GiveUp("too large")
    say(f"shrunk {file}")


@app.subscribe("transcripts")
async def transcribe(file: str) -> None:
    say(f"transcribed {file}")


async def main() -> None:
    async with app:
        async with app.worker():
            for file, headers in (
                ("cat.png", {"kind": "picture"}),
                ("huge.png", {"kind": "picture"}),
                ("talk.ogg", {"kind": "sound", "language": "de"}),
            ):
                await app.publish(file, exchange="uploads", routing_key="upload.new", headers=headers)
            await app.publish("gone.txt", exchange="uploads", routing_key="deleted")  # nobody takes that
            for _ in range(6):
                await handled.acquire()
        print("unrouted:", (await app.queue_stats("unrouted")).ready)
        print("parked:", [letter.error for letter in await app.dead_letters("thumbnails")])


if __name__ == "__main__":
    asyncio.run(main())
