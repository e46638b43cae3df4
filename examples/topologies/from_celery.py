"""Take what Celery's producers still send, and do it as tasks with lanes. Run me: python from_celery.py"""

import asyncio
from pathlib import Path
from typing import Any

from brokerkit import App, Context

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "from-celery.toml"
app = App("sqlite:///from_celery.db", topology=TOPOLOGY, topology_env="development")
sent = asyncio.Semaphore(0)


@app.task(queue="emails")
async def send_email(to: str, subject: str = "hello") -> None:
    print(f"mail to {to}: {subject}")
    sent.release()


MOVED = {"shop.tasks.send_email": send_email}


@app.subscribe("celery")
async def take_over(ctx: Context, body: tuple[list[Any], dict[str, Any], dict[str, Any]]) -> None:
    """Celery's protocol 2: the task's name is a header, the body is [args, kwargs, embed] as JSON."""
    args, kwargs, _ = body
    task = MOVED[str(ctx.message.headers["task"])]  # one that is not known is retried, then a dead letter
    await ctx.send(task.message(*args, **kwargs))


async def main() -> None:
    async with app, app.worker():
        # As Celery's producer would: send_email.delay("ada@example.org", subject="welcome")
        body = [["ada@example.org"], {"subject": "welcome"}, {}]
        await app.publish(body, exchange="celery", routing_key="celery", headers={"task": "shop.tasks.send_email"})
        await send_email.send("grace@example.org")  # a producer that has moved
        for _ in range(2):
            await sent.acquire()


if __name__ == "__main__":
    asyncio.run(main())
