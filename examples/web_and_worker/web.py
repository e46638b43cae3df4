"""What a web server does: send, answer at once, tell the result to whoever asks.

The worker is another process, started before or after: brokerkit worker tasks:app
"""

import asyncio

from tasks import app, charge

from brokerkit import Handle


async def post_order(order_id: str, amount: float) -> Handle[str]:
    """POST /orders: the order is safe when this returns; its id is what the client asks with."""
    return await charge.send(order_id, amount)


async def get_order(task_id: str) -> str:
    """GET /orders/<id>: from the store, so that any process can answer."""
    status = await app.status(task_id)
    return "unknown" if status is None else status.value


async def main() -> None:
    async with app:
        handles = [await post_order(f"o-{number}", 9.90) for number in range(3)]
        print(await get_order("no such id"))
        for handle in handles:
            print(await handle.result(timeout=30))
            print(await get_order(handle.id))


if __name__ == "__main__":
    asyncio.run(main())
