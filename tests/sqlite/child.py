"""Another process on the same file: ``python -m tests.sqlite.child <what> <file> [<number>]``.

It writes one line for each thing done and reads one line before each thing it is told to wait for.
"""

from __future__ import annotations

import asyncio
import sys

from brokerkit.delivery import Delivery, QueueSource
from brokerkit.outcome import ACK
from brokerkit.transports.sqlite import SqliteTransport
from tests.sqlite.making import LEASE, Q, outgoing, topology


def say(*words: object) -> None:
    print(*words, flush=True)


async def told() -> None:
    """Wait for a line; the loop goes on."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def hold(transport: SqliteTransport, number: int) -> None:
    """Take some and keep them; once told, settle them."""
    async with transport.consume([QueueSource("q")]) as subscription:
        held: list[Delivery] = []
        while len(held) < number:
            held += await subscription.receive({Q: number - len(held)})
        say("held", *(delivery.deliveries for delivery in held))
        await told()
        answers = await subscription.settle([(delivery, ACK) for delivery in held])
        say("settled", *(answer.value for answer in answers), *(delivery.lost for delivery in held))
        await told()


async def compete(transport: SqliteTransport, number: int) -> None:
    """Take and acknowledge until nothing has come for a while."""
    async with transport.consume([QueueSource("q")]) as subscription:
        say("ready")
        await told()
        while True:
            try:
                async with asyncio.timeout(2):
                    got = await subscription.receive({Q: number})
            except TimeoutError:
                return
            answers = await subscription.settle([(delivery, ACK) for delivery in got])
            done = zip(got, answers, strict=True)
            say("done", *(delivery.message.id for delivery, answer in done if answer.value == "done"))


async def publish(transport: SqliteTransport, number: int) -> None:
    """Publish one by one."""
    for index in range(number):
        answers = await transport.publish([outgoing(f"{id(transport)}-{index}")], deadline=30)
        say(answers[0].value)


async def settle(transport: SqliteTransport, number: int) -> None:
    """Take and acknowledge one by one."""
    async with transport.consume([QueueSource("q")]) as subscription:
        for _ in range(number):
            (delivery,) = await subscription.receive({Q: 1})
            await subscription.settle([(delivery, ACK)])
            say(delivery.message.id)
        await told()


async def idle(transport: SqliteTransport, number: int) -> None:
    """Consume an empty queue."""
    async with transport.consume([QueueSource("q")]) as subscription:
        say("ready")
        await asyncio.gather(subscription.receive({Q: number}), told())


async def echo(transport: SqliteTransport, number: int) -> None:
    """Send what arrives to the other queue."""
    async with transport.consume([QueueSource("q")]) as subscription:
        say("ready")
        for _ in range(number):
            (delivery,) = await subscription.receive({Q: 1})
            await transport.publish([outgoing(delivery.message.id, queue="back")], deadline=10)
            await subscription.settle([(delivery, ACK)])


async def main() -> None:
    what, path, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    acts = {each.__name__: each for each in (hold, compete, publish, settle, idle, echo)}
    async with SqliteTransport(path, lease=LEASE) as transport:
        await transport.apply(topology())
        await acts[what](transport, number)


if __name__ == "__main__":
    asyncio.run(main())
