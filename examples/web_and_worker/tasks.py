"""The tasks. A worker is a process of its own: brokerkit worker tasks:app"""

import asyncio

from brokerkit import App, Context, Retry

app = App("sqlite:///shop.db")


@app.task(retry=Retry.exponential(max_retries=5, initial=0.2, max_delay=30), timeout=10)
async def charge(ctx: Context, order_id: str, amount: float) -> str:
    await asyncio.sleep(0.05)  # talking to the bank
    return f"charged {order_id}: {amount:.2f}"
