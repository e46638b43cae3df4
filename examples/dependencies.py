"""What a task needs, opened before it and cleaned up after it, whatever happens. Run me: python dependencies.py"""

import asyncio
from collections.abc import AsyncIterator

from brokerkit import App, Context, Depends, Retry, TaskFailed

app = App("sqlite:///dependencies.db")
Balances = dict[str, float]


async def bank() -> AsyncIterator[Balances]:
    print("the bank opens")
    yield {"ada": 20.0, "grace": 5.0}
    print("the bank closes")


async def transaction(balances: Balances = Depends(bank, scope="worker")) -> AsyncIterator[Balances]:
    changed = balances.copy()
    try:
        yield changed  # the task runs here; what it raises is raised here
    except ValueError as error:
        print(f"rolled back: {error}")
        raise
    balances.update(changed)
    print("committed")


def customer(ctx: Context) -> str:
    return str(ctx.args["name"]).title()


@app.task(retry=Retry.none())
async def charge(
    name: str, amount: float, balances: Balances = Depends(transaction), customer: str = Depends(customer)
) -> str:
    balances[name] -= amount
    if balances[name] < 0:
        raise ValueError(f"{customer} cannot pay {amount:g}")
    return f"{customer} has {balances[name]:g} left"


@app.handler("audit.*")
async def audit(ctx: Context, arguments: dict[str, float]) -> str:
    return f"{ctx.name}: {arguments}"


async def main() -> None:
    async with app, app.worker():
        print(await (await charge.send("ada", 15.0)).result())  # no sender passes what is injected
        try:
            await (await charge.send("grace", 15.0)).result()
        except TaskFailed as error:
            print(error)
        print(await (await app.send("audit.daily", {"total": 10.0}, queue="default")).result())


if __name__ == "__main__":
    asyncio.run(main())
