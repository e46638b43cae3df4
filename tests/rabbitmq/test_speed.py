"""How fast one process publishes with confirmation, beside stock aiormq in the same run; the figures are printed with
``-s``."""

from __future__ import annotations

import asyncio
import time

import aiormq
import pytest
from pamqp.commands import Basic

from brokerkit.transport import Published
from brokerkit.transports.rabbitmq.publishing import Publisher
from tests.brokers import broker_url
from tests.rabbitmq.links import connected, count, prepared, queue

TOTAL = 20_000
STOCK = 2_000
"""Stock aiormq is slow: a sample will do."""


async def ours(url: str, name: str, chunk: int) -> float:
    messages = [prepared(name, number) for number in range(TOTAL)]
    answers: list[Published] = []
    async with connected(url) as connection:
        publisher = Publisher(connection)
        begun = time.perf_counter()
        for start in range(0, TOTAL, chunk):
            answers += await publisher.publish(messages[start : start + chunk], deadline=30)
        seconds = time.perf_counter() - begun
    assert answers == [Published.CONFIRMED] * TOTAL
    return TOTAL / seconds


async def stock(url: str, name: str, chunk: int) -> float:
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    body, chunk = b"x" * 256, min(chunk, STOCK)
    begun = time.perf_counter()
    for _ in range(STOCK // chunk):
        sending = [
            channel.basic_publish(
                body,
                routing_key=name,
                mandatory=True,
                properties=Basic.Properties(delivery_mode=2),
                wait=False,  # type: ignore[call-arg]
            )
            for _ in range(chunk)
        ]
        await asyncio.gather(*sending)
    seconds = time.perf_counter() - begun
    await connection.close()
    return STOCK / seconds


@pytest.mark.bench
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_each_message_is_confirmed_and_there_however_fast_they_come(kind: str) -> None:
    url = broker_url("rabbitmq")
    for chunk in (100, 10_000):
        async with queue(url, kind=kind) as name:
            plain = await stock(url, name, chunk)
            rate = await ours(url, name, chunk)
            assert await count(url, name) == STOCK + TOTAL
        print(f"{kind}, {chunk} a call: {rate:.0f}/s, stock aiormq {plain:.0f}/s, ratio {rate / plain:.1f}")
