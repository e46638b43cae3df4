"""A task and its result. Run me: python quickstart.py"""

import asyncio

from brokerkit import App, Context

app = App("sqlite:///quickstart.db")  # a file beside you; "memory://" keeps everything in this process


@app.task
async def greet(ctx: Context, name: str) -> str:
    await ctx.progress(0.5, "looking for words")
    return f"Hello, {name}! (attempt {ctx.attempt})"


async def main() -> None:
    async with app, app.worker():
        handle = await greet.send("Ada")
        print(await handle.result(timeout=10))
        print(await handle.status())

        later = await greet.options(delay=0.2, priority="high").send("Grace")
        print(await later.status())
        print(await later.result())

        handles = await app.send_many([greet.message(f"guest {number}") for number in range(100)])
        print(len([await handle.result() for handle in handles]), "guests greeted")


if __name__ == "__main__":
    asyncio.run(main())
