"""The app that is killed: every execution leaves a line in a log outside the broker."""

from __future__ import annotations

import asyncio
import os
import random
import time

from brokerkit import App, Context, Queue, Retry
from brokerkit.calls import Call

LOG = os.environ.get("CHAOS_LOG", os.devnull)
STORE = os.environ.get("CHAOS_STORE", "broker")

app = App(os.environ.get("BROKERKIT_URL", "memory://"), name="chaos", store=None if STORE == "none" else STORE)
work = Queue("work", priorities=2)


def note(*words: object) -> None:
    """One write of one line: complete however the process ends."""
    line = (" ".join(map(str, words)) + "\n").encode()
    file = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


@app.task(queue=work, retry=Retry.fixed(max_retries=3, delay=0.02))
async def job(ctx: Context, number: int) -> int:
    """Fails once in 50 on the first attempt; takes long enough for twenty kills to hit work."""
    note("start", number, os.getpid(), ctx.attempt)
    await asyncio.sleep(random.random() / 12)
    if number % 50 == 0 and ctx.attempt == 1:
        note("fail", number, os.getpid(), ctx.attempt)
        raise RuntimeError("fails at first")
    note("end", number, os.getpid(), ctx.attempt)
    return number * 2


@app.task(queue=work)
async def parent(ctx: Context, number: int) -> int:
    """Leaves a follow-up."""
    note("start", number, os.getpid(), ctx.attempt)
    await ctx.send(follow_up(number))
    note("end", number, os.getpid(), ctx.attempt)
    return number + 1


@app.task(queue=Queue("later"))
async def child(number: int) -> int:
    """The follow-up."""
    note("child", number, os.getpid(), 1)
    return number


def follow_up(number: int) -> Call[int]:
    return child.message(number)


@app.task(queue=Queue("long"))
async def awaiting(ctx: Context, number: int, seconds: float) -> int:
    """Takes its time, as it should."""
    note("start", number, os.getpid(), ctx.attempt)
    await asyncio.sleep(seconds)
    note("end", number, os.getpid(), ctx.attempt)
    return os.getpid()


@app.task(queue=Queue("long"))
async def blocking(ctx: Context, number: int, seconds: float) -> int:
    """Takes everybody's time: nothing else happens on the event loop."""
    note("start", number, os.getpid(), ctx.attempt)
    time.sleep(seconds)
    note("end", number, os.getpid(), ctx.attempt)
    return os.getpid()


@app.task(queue=Queue("long"))
def sleeping(ctx: Context, number: int, seconds: float) -> int:
    """Blocks a thread."""
    note("start", number, os.getpid(), ctx.attempt)
    time.sleep(seconds)
    note("end", number, os.getpid(), ctx.attempt)
    return os.getpid()


@app.task(queue=Queue("long"))
def computing(ctx: Context, number: int, seconds: float) -> int:
    """Wants all of the processor, and the interpreter's lock."""
    note("start", number, os.getpid(), ctx.attempt)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass
    note("end", number, os.getpid(), ctx.attempt)
    return os.getpid()


@app.task(queue=Queue("ticks"), record="none", reply=False)
async def tick(number: int) -> None:
    """Costs next to nothing."""
    note("start", number, os.getpid(), 1)
