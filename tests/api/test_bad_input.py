"""What arrives from elsewhere and cannot be run: dead-lettered with its reason, and the worker goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from brokerkit import App, Queue, Retry, Settings, TaskStatus
from brokerkit.codec import Limits
from brokerkit.message import JSON, MSGPACK, Message, Outgoing
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters

GOOD = msgspec.msgpack.encode({"number": 1})
LIMIT = 10_000


class Target:
    """A worker that takes ``double`` and a subscriber that takes lists."""

    def __init__(self, url: str) -> None:
        self.app = App(url, settings=Settings(retry=Retry.fixed(1, 0), limits=Limits(body=LIMIT)))
        self.ran: list[Any] = []

        @self.app.task(queue=Queue("numbers"))
        async def double(number: int, extra: Any = None) -> int:
            self.ran.append(number)
            return 2 * number

        @self.app.task(queue="numbers")
        def triple(number: int, extra: Any = None) -> int:
            self.ran.append(number)
            return 3 * number

        @self.app.subscribe(Queue("events"))
        async def take(event: list[Any]) -> None:
            self.ran.append(event)

        self.double = double

    async def publish(self, message: Message, queue: str = "numbers") -> None:
        """Publish past every check of the sender."""
        await self.app.transport.publish([Outgoing(message, "", queue)], deadline=10)

    async def works(self) -> bool:
        """Whether every slot still runs tasks."""
        handles = await self.app.send_many([self.double.message(n) for n in range(10)])
        return [await handle.result() for handle in handles] == [2 * n for n in range(10)]


def message(body: bytes = GOOD, **fields: Any) -> Message:
    return Message(**{"id": "bad", "name": "double", "body": body, "created": 1_700_000_000.0, **fields})


BOMB = LIMIT // 2
BAD_BODIES = {
    "empty": (b"", MSGPACK),
    "not msgpack": (b"\xc1", MSGPACK),
    "cut off": (GOOD[:-1], MSGPACK),
    "with a tail": (GOOD + b"\x00", MSGPACK),
    "not a map": (b"\x93\x01\x02\x03", MSGPACK),
    "of the wrong type": (msgspec.msgpack.encode({"number": "one"}), MSGPACK),
    "without a required name": (msgspec.msgpack.encode({"extra": 1}), MSGPACK),
    "with a name that is no string": (b"\x81\x01\x01", MSGPACK),
    "with a key that is a map": (b"\x81\x80\x01", MSGPACK),
    "with broken text": (b"\x82\xa6number\x01\xa5extra\xa1\xff", MSGPACK),
    "claiming four billion items": (b"\x82\xa6number\x01\xa5extra\xdd\xff\xff\xff\xff", MSGPACK),
    "claiming four billion pairs": (b"\xdf\xff\xff\xff\xff", MSGPACK),
    "claiming four billion bytes": (b"\x82\xa6number\x01\xa5extra\xc6\xff\xff\xff\xff", MSGPACK),
    "nested lists": (b"\x82\xa6number\x01\xa5extra" + b"\x91" * BOMB + b"\x01", MSGPACK),
    "nested maps": (b"\x82\xa6number\x01\xa5extra" + b"\x81\xa1a" * (BOMB // 2) + b"\x01", MSGPACK),
    "an unclosed nest": (b"\xdc\x00\x02" * (BOMB // 2), MSGPACK),
    "over the limit": (msgspec.msgpack.encode({"number": 1, "extra": "x" * LIMIT}), MSGPACK),
    "not json": (b"{'number': 1}", JSON),
    "json cut off": (b'{"number": 1', JSON),
    "json with a tail": (b'{"number": 1} x', JSON),
    "json with a surrogate": (b'{"number": 1, "extra": "\\ud800"}', JSON),
    "nested json lists": (b'{"number": 1, "extra": ' + b"[" * BOMB + b"]" * (BOMB - 100) + b"}", JSON),
    "nested json maps": (b'{"a":' * (BOMB // 5), JSON),
    "json with a huge exponent": (b'{"number": 1e999999999}', JSON),
    "of a content type nobody reads": (GOOD, "application/x-python-pickle"),
    "of a content type that is nonsense": (GOOD, ";;;\x00" * 1000),
}


@pytest.mark.parametrize("name", ["double", "triple"])
@pytest.mark.parametrize(("body", "content_type"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_body_that_cannot_be_read_is_dead_lettered(url: str, name: str, body: bytes, content_type: str) -> None:
    target = Target(url)
    async with target.app, target.app.worker(concurrency=2):
        await target.publish(message(body, name=name, content_type=content_type))
        (letter,) = await dead_letters(target.app, "numbers")
        assert (letter.message.id, letter.reason) == ("bad", Reason.DECODE_ERROR)
        assert 0 < len(letter.error) <= 2000
        record = await target.app.record("bad")
        assert record is not None
        assert (record.status, record.name, record.attempt) == (TaskStatus.FAILURE, name, 1)
        assert record.error is not None
        assert record.error.message
        assert target.ran == []
        assert await target.works()


@pytest.mark.parametrize(
    "body", [b"\xc1", b"\x81\xa1a\x01", b"\x91" * 5000], ids=["not msgpack", "not a list", "nested"]
)
async def test_an_event_that_cannot_be_read_is_dead_lettered(url: str, body: bytes) -> None:
    target = Target(url)
    async with target.app, target.app.worker(concurrency=2):
        await target.publish(message(body, name=""), "events")
        (letter,) = await dead_letters(target.app, "events")
        assert letter.reason is Reason.DECODE_ERROR
        assert await target.works()


@pytest.mark.parametrize("name", ["dubble", "", "x" * 5000, "double\x00", "../../etc/passwd", "__init__", "ünknown"])
async def test_a_name_nobody_takes_is_dead_lettered(url: str, name: str) -> None:
    target = Target(url)
    async with target.app, target.app.worker(concurrency=2):
        await target.publish(message(name=name))
        (letter,) = await dead_letters(target.app, "numbers")
        assert letter.reason is Reason.UNKNOWN_TASK
        assert len(letter.error) <= 2000
        assert await target.app.status("bad") is TaskStatus.FAILURE
        assert await target.works()


ABUSES: dict[str, dict[str, Any]] = {
    "a retry policy that is no JSON": {"retry": "exponential, please"},
    "a retry policy that is not one": {"retry": "[1, 2]"},
    "a retry policy out of range": {"retry": '{"kind": "fixed", "initial": -1}'},
    "a retry policy nested deeply": {"retry": "[" * 100_000},
    "a timeout that is not a number": {"timeout": float("nan")},
    "a timeout that is endless": {"timeout": float("inf")},
    "a reply address that is a queue": {"reply_to": "events"},
    "a reply address that is nobody's": {"reply_to": "bk.inbox.nobody"},
    "a priority out of range": {"priority": 1000},
    "a negative priority": {"priority": -5},
    "an attempt far beyond every limit": {"attempt": 2**40},
    "an attempt before the first": {"attempt": -3},
    "a huge number of postponements": {"postponed": 2**40},
    "an age before all clocks": {"created": -1e18},
    "an id of another length": {"id": "bad" * 1000},
    "an id that is empty": {"id": ""},
    "a foreign priority name": {"headers": {"x-priority": "urgent"}},
}


@pytest.mark.parametrize("fields", ABUSES.values(), ids=ABUSES.keys())
@pytest.mark.parametrize("body", [GOOD, b"\xc1"], ids=["good", "bad"])
async def test_properties_that_make_no_sense_do_not_harm_the_worker(
    url: str, fields: dict[str, Any], body: bytes
) -> None:
    target = Target(url)
    async with target.app, target.app.worker(concurrency=2) as worker:
        for number in range(3):  # more than there are slots
            await target.publish(message(body, **{"id": f"bad-{number}", **fields}))
        assert await target.works()
        assert await target.works()
        assert worker.running == 0
        stats = await target.app.queue_stats("numbers")
    assert (stats.ready, stats.in_flight) == (0, 0)


@pytest.mark.parametrize(
    "retry",
    ["exponential, please", '{"kind": "fixed", "initial": -1}', "[" * 100_000],
    ids=["text", "negative", "nested"],
)
async def test_a_failing_task_with_a_broken_policy_of_its_own_still_comes_to_an_end(url: str, retry: str) -> None:
    app = App(url, settings=Settings(retry=Retry.none()))

    @app.task(queue="numbers")
    async def double(number: int) -> None:
        raise ValueError("no")

    @app.task
    async def fine() -> int:
        return 1

    async with app, app.worker(concurrency=1):
        await app.transport.publish([Outgoing(message(retry=retry), "", "numbers")], deadline=10)
        (letter,) = await dead_letters(app, "numbers")
        assert letter.message.id == "bad"
        assert await app.status("bad") is TaskStatus.FAILURE
        assert await (await fine.send()).result() == 1


async def test_headers_over_the_limit_are_dead_lettered(url: str) -> None:
    target = Target(url)
    async with target.app, target.app.worker(concurrency=2):
        await target.publish(message(headers={f"h{n}": "x" * 1000 for n in range(20)}))
        assert await target.works()  # the good ones came after the bad one
        assert await target.app.status("bad") is TaskStatus.FAILURE
        (letter,) = await dead_letters(target.app, "numbers")
        assert letter.reason is Reason.DECODE_ERROR
        assert "headers" in letter.error
