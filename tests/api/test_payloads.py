"""What can be an event or an argument, and what becomes of a body that does not fit."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest

from brokerkit import App, ConfigurationError, EncodeError, Exchange, Queue, Settings
from brokerkit.codec import Limits
from brokerkit.outcome import Reason
from tests.api.probes import dead_letters, soon

things = Exchange("things", type="fanout")


@dataclass
class Point:
    x: int
    y: int = 0


class Place(msgspec.Struct):
    name: str
    where: Point
    tags: tuple[str, ...] = ()


class Line(TypedDict):
    start: int
    end: int


class Colour(Enum):
    RED = "red"


class Model:
    """What brokerkit asks of a pydantic model, without pydantic."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.name == self.name

    __hash__ = None  # type: ignore[assignment]

    def model_dump(self, mode: str) -> dict[str, str]:
        assert mode == "json"
        return {"name": self.name}

    @classmethod
    def model_validate(cls, value: dict[str, str]) -> "Model":
        return cls(value["name"])


def subscriber_of(kind: Any, seen: asyncio.Queue[Any]) -> Any:
    async def take(event: Any) -> None:
        seen.put_nowait(event)

    take.__annotations__["event"] = kind
    return take


@pytest.mark.parametrize("content_type", ["application/msgpack", "application/json"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Place("home", Point(1, 2), ("a",)), Place),
        (Point(1), Point),
        (Line(start=1, end=2), Line),
        (Model("m"), Model),
        ({"a": [1, 2.5, None, True, "ü"]}, dict[str, list[Any]]),
        ([1, 2], list[int]),
        ("text", str),
        (None, Any),
        ([UUID(int=1), Decimal("1.50")], tuple[UUID, Decimal]),
        ([datetime(2024, 2, 29, 12, tzinfo=UTC), timedelta(seconds=1.5)], tuple[datetime, timedelta]),
        (Colour.RED, Colour),
        (b"\x00\xff", bytearray),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
async def test_an_event_arrives_as_its_annotation_says(url: str, value: Any, kind: Any, content_type: str) -> None:
    app = App(url, settings=Settings(content_type=content_type))
    seen: asyncio.Queue[Any] = asyncio.Queue()
    app.subscribe(Queue("things", bindings=[things.bind()]))(subscriber_of(kind, seen))
    async with app, app.worker():
        await app.publish(value, exchange=things)
        arrived = await soon(seen.get())
    assert arrived == value or list(arrived) == value


async def test_a_real_pydantic_model_is_a_payload(url: str) -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    kind = pydantic.create_model("Order", order_id=(str, ...), amount=(Decimal, ...))
    app = App(url)
    seen: asyncio.Queue[Any] = asyncio.Queue()
    app.subscribe(Queue("things", bindings=[things.bind()]))(subscriber_of(kind, seen))
    async with app, app.worker():
        await app.publish(kind(order_id="o-1", amount="1.50"), exchange=things)
        assert await soon(seen.get()) == kind(order_id="o-1", amount="1.50")


async def test_arguments_and_results_keep_their_types(url: str) -> None:
    app = App(url)

    @app.task
    async def move(place: Place, by: Point, *, when: datetime, label: str = "none") -> Place:
        return Place(f"{label} {when.year}", Point(place.where.x + by.x, place.where.y + by.y))

    @app.task
    def swap(line: Line) -> tuple[int, int]:
        return line["end"], line["start"]

    async with app, app.worker():
        handle = await move.send(Place("home", Point(1, 2)), by=Point(1, 1), when=datetime(2024, 1, 1, tzinfo=UTC))
        assert await handle.result() == Place("none 2024", Point(2, 3))
        assert await (await swap.send({"start": 1, "end": 2})).result() == (2, 1)


@pytest.mark.parametrize("value", [{"x": "far"}, {}, [1, 2], None, "1"])
async def test_a_body_that_does_not_fit_the_annotation_is_dead_lettered(url: str, value: Any) -> None:
    app = App(url)
    seen: asyncio.Queue[Point] = asyncio.Queue()

    @app.subscribe(Queue("things", bindings=[things.bind()]))
    async def take(event: Point) -> None:
        seen.put_nowait(event)

    async with app, app.worker():
        bad = await app.publish(value, exchange=things)
        await app.publish(Point(1, 2), exchange=things)
        assert await soon(seen.get()) == Point(1, 2)
        (letter,) = await dead_letters(app, "things")
    assert (letter.reason, letter.message.id, letter.source) == (Reason.DECODE_ERROR, bad, "things")
    assert "does not fit" in letter.error


async def test_bytes_take_any_body_as_it_is(url: str) -> None:
    app = App(url)
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    @app.subscribe(Queue("things", bindings=[things.bind()]))
    async def take(event: bytes) -> None:
        seen.put_nowait(event)

    async with app, app.worker():
        await app.publish({"a": 1}, exchange=things)
        assert await soon(seen.get()) == b"\x81\xa1a\x01"


@pytest.mark.parametrize(
    ("value", "words"),
    [(object(), "object has no representation"), ("x" * 1001, "over the limit of 1000"), (2**70, "cannot encode")],
)
async def test_what_cannot_be_sent_is_refused_at_the_sender(url: str, value: Any, words: str) -> None:
    app = App(url, settings=Settings(limits=Limits(body=1000)))

    @app.task
    async def take(value: Any) -> None: ...

    app.declare(Queue("things", bindings=[things.bind()]))
    async with app:
        for refused in (
            lambda: app.publish(value, exchange=things),
            lambda: take.send(value),
            lambda: app.send("take", {"value": value}, queue="default"),
        ):
            with pytest.raises(EncodeError, match=words):
                await refused()
        assert (await app.queue_stats("things")).ready == (await app.queue_stats("default")).ready == 0


async def test_arguments_are_checked_at_the_sender(url: str) -> None:
    app = App(url)

    @app.task
    async def charge(order_id: str, amount: float = 1.0) -> None: ...

    async with app:
        with pytest.raises(EncodeError, match=r"charge do not fit: .*Expected `float`, got `str`"):
            await charge.send("o-1", "much")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="missing a required argument: 'order_id'"):
            await charge.send()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument 'amuont'"):
            await charge.send("o-1", amuont=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="multiple values"):
            await charge.send("o-1", order_id="o-2")  # type: ignore[misc]
        assert (await app.queue_stats("default")).ready == 0


def test_a_parameter_that_cannot_travel_is_refused_at_import() -> None:
    app = App("memory://")

    async def several(*orders: str) -> None: ...
    async def positional(order: str, /) -> None: ...

    for function in (several, positional):
        with pytest.raises(ConfigurationError, match="cannot travel by name"):
            app.task(function)


async def test_an_object_may_be_anything(url: str) -> None:
    app = App(url)

    @app.task
    async def echo(value: object) -> object:
        return value

    async with app, app.worker():
        assert await (await echo.send({"a": [1]})).result() == {"a": [1]}


class Opaque:
    """A class of which the codecs know nothing."""


def test_an_annotation_that_no_body_can_fit_is_refused_at_import() -> None:
    app = App("memory://")

    async def takes(value: Opaque) -> None: ...
    async def gives() -> Opaque:
        return Opaque()

    for function in (takes, gives):
        with pytest.raises(ConfigurationError, match="Opaque"):
            app.task(function)
