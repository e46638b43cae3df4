"""Failures that mend themselves: the delays are in the file. Run me: python delayed_retries.py"""

import asyncio
from pathlib import Path

from brokerkit import App, Context, RetriesExhausted, TaskFailed

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "delayed-retries.toml"
app = App("sqlite:///delayed_retries.db", topology=TOPOLOGY, topology_env="development")


@app.task(queue="mail")
async def send_mail(ctx: Context, address: str) -> str:
    if "@" not in address:
        raise ValueError(f"{address} is no address")  # give_up_on: no retry would help
    if ctx.attempt < 4:
        raise ConnectionError("the mail server is busy")
    return f"sent to {address} in attempt {ctx.attempt}"


@app.task(queue="payments")
async def settle(order: str) -> None:
    raise ConnectionError("the bank is closed")


async def main() -> None:
    async with app, app.worker():
        ada, nobody, order = (
            await send_mail.send("ada@example.org"),
            await send_mail.send("nobody"),
            await settle.send("o-1"),
        )
        print(await ada.result(timeout=30))
        try:
            await nobody.result(timeout=30)
        except TaskFailed as error:
            print(error, "after", error.attempts, "attempt")
        try:
            await order.result(timeout=30)
        except RetriesExhausted as error:
            print(error, "after", error.attempts, "attempts")
        print("to be settled:", [letter.message.name for letter in await app.dead_letters("payments")])


if __name__ == "__main__":
    asyncio.run(main())
