"""Ask and wait for the answer; a request that waited too long is not answered. Run me: python request_reply.py"""

import asyncio
from pathlib import Path

from brokerkit import App, TaskExpired

app = App("sqlite:///request_reply.db", topology=Path(__file__).parents[2] / "topologies" / "request-reply.toml")


@app.task(queue="quotes")
async def quote(sku: str, pieces: int) -> float:
    return {"tea": 4.20, "cup": 9.90}[sku] * pieces


async def main() -> None:
    async with app:
        late = await quote.options(expires=0.05).send("tea", 1)  # its caller waits no longer than that
        await asyncio.sleep(0.1)
        async with app.worker():
            asked = await asyncio.gather(*(quote.options(priority="high").send(sku, 2) for sku in ("tea", "cup")))
            print([await handle.result(timeout=10) for handle in asked])
            try:
                await late.result(timeout=10)
            except TaskExpired:
                print("nobody waited for the last one any more")


if __name__ == "__main__":
    asyncio.run(main())
