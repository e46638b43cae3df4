"""One consumer group in three processes, on any number of hosts: each reading is handled once, by whichever is free.

Start the members: brokerkit worker meter:app --processes 3
Then let readings come: python meter.py
"""

import asyncio
import os
from dataclasses import dataclass
from datetime import timedelta

from brokerkit import App, Event, Exchange, Log

app = App(name="meter")  # the broker in BROKERKIT_URL: redis://localhost/0
sensors = Exchange("sensors", type="topic")
readings = Log("readings", bindings=[sensors.bind("reading.#")], retention=timedelta(days=1))


@dataclass
class Reading:
    sensor: str
    degrees: float


@app.subscribe(readings, group="averages")
async def add(reading: Reading) -> None:
    await asyncio.sleep(0.01)
    print(f"{reading.sensor}: {reading.degrees} in process {os.getpid()}", flush=True)


@app.subscribe(readings, group="alarms")  # another group: it sees all readings, too
async def watch(reading: Reading) -> None:
    if reading.degrees > 90:
        print(f"{reading.sensor} is hot", flush=True)


async def main() -> None:
    async with app:
        await app.publish_many(
            Event(Reading(f"s-{number}", 3.5 * number), exchange=sensors, routing_key=f"reading.s-{number}")
            for number in range(30)
        )


if __name__ == "__main__":
    asyncio.run(main())
