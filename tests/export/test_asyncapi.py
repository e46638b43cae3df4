"""AsyncAPI 3.0: what the official schema takes, with the tasks and events of an app."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from pydantic import BaseModel

from brokerkit import App, Context, Exchange, Log, Queue, Topology
from brokerkit.operations.export import as_asyncapi
from tests.files.test_round_trip import anything

SCHEMA = json.loads((Path(__file__).parent / "asyncapi-3.0.0-amqp.schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


class Line(msgspec.Struct):
    sku: str
    amount: float = 1.0


class OrderPlaced(msgspec.Struct):
    order_id: str
    lines: list[Line]


class Part(BaseModel):
    name: str


class Refund(BaseModel):
    order_id: str
    parts: list[Part] = []


def shop() -> App:
    app = App("memory://", name="shop")
    orders = Exchange("orders", type="topic")
    history = Log("history", bindings=[orders.bind("order.#")], retention=86400)

    @app.task(queue=Queue("payments", priorities=3))
    async def charge(ctx: Context, order_id: str, amount: float = 3.0) -> str:
        return order_id

    @app.subscribe(Queue("eu orders", bindings=[orders.bind("order.eu.*")]))
    async def pack(event: OrderPlaced) -> None: ...

    @app.subscribe(history, group="fraud")
    async def check(event: OrderPlaced) -> None: ...

    @app.subscribe(history, group="refunds")
    async def refund(event: Refund) -> None: ...

    @app.subscribe(history, group="anything")
    async def keep(event: object) -> None: ...

    return app


def test_the_document_of_an_app_says_what_travels_and_where() -> None:
    app = shop()
    document = as_asyncapi(app.topology(), app, version="1.2.3", url="amqps://me:secret@rabbit1:5671,rabbit2/vhost")
    check(document)
    assert "secret" not in json.dumps(document)
    assert document["servers"]["broker"] == {"host": "rabbit1:5671", "protocol": "amqps", "pathname": "/vhost"}
    payments = document["channels"]["queue.payments"]
    assert payments["address"] == "payments"
    assert payments["bindings"]["amqp"]["is"] == "queue"
    assert payments["x-brokerkit"] == {"queue": {"priorities": 3}}
    assert document["channels"]["queue.eu_orders"]["address"] == "eu orders"
    operations = document["operations"]
    assert operations["send.charge"]["messages"] == [{"$ref": "#/channels/queue.payments/messages/message.charge"}]
    assert (operations["consume.payments"]["action"], operations["publish.orders"]["action"]) == ("receive", "send")
    charge = document["components"]["messages"]["message.charge"]["payload"]
    arguments = document["components"]["schemas"][charge["$ref"].rpartition("/")[2]]
    assert (arguments["required"], set(arguments["properties"])) == (["order_id"], {"order_id", "amount"})
    assert document["components"]["schemas"]["Line"]["required"] == ["sku"]
    assert document["components"]["schemas"]["Part"]["properties"]["name"]["type"] == "string"


def test_messages_and_types_of_one_name_stay_apart() -> None:
    def event(**fields: type) -> type:
        return msgspec.defstruct("Event", list(fields.items()), module=f"m{len(fields)}")

    app = App("memory://", name="shop")

    async def one(event: Any) -> None: ...

    for number, kind in enumerate((event(a=int), event(a=int, b=str), set)):
        one.__annotations__["event"] = kind
        app.subscribe(Queue(f"q{number}"))(one)
    document = as_asyncapi(app.topology(), app)
    check(document)
    payloads = [held["payload"] for held in document["components"]["messages"].values()]
    first, second = (document["components"]["schemas"][each["$ref"].rpartition("/")[2]] for each in payloads[:2])
    assert (set(first["properties"]), set(second["properties"])) == ({"a"}, {"a", "b"})


def test_every_reference_leads_somewhere() -> None:
    app = shop()
    document = as_asyncapi(app.topology(), app)
    found = list(references(document))
    assert len(found) > 15
    for reference in found:
        held: Any = document
        for part in reference.removeprefix("#/").split("/"):
            held = held[part]


def test_names_that_asyncapi_does_not_take_stay_apart() -> None:
    topology = Topology("t", queues=[Queue("a b"), Queue("a/b"), Queue("a,b", dead_letter=False)])
    document = as_asyncapi(topology)
    check(document)
    addresses = {key: channel["address"] for key, channel in document["channels"].items()}
    assert addresses == {
        "queue.a_b": "a b", "queue.a_b_2": "a/b", "queue.a_b_3": "a,b", "queue.a_b.dead": "a b.dead",
        "queue.a_b.dead_2": "a/b.dead",
    }  # fmt: skip


@given(topology=anything())
@settings(max_examples=25)
def test_any_topology_is_a_document_that_the_official_schema_takes(topology: Topology) -> None:
    logs = {log.name for log in topology.logs}
    groups = tuple(group for group in topology.groups if group.log in logs)
    check(as_asyncapi(msgspec.structs.replace(topology, groups=groups)))


def test_the_schema_would_notice() -> None:
    document = as_asyncapi(Topology("t", queues=[Queue("q")]))
    document["channels"]["queue.q"]["bindings"]["amqp"]["is"] = "topic"
    with pytest.raises(AssertionError):
        check(document)


def check(document: Any) -> None:
    """Against the official schema; of its alternatives, what went wrong deepest is told."""
    errors = [jsonschema.exceptions.best_match([error]) for error in VALIDATOR.iter_errors(document)]
    assert not errors, [(list(error.absolute_path), error.message[:200]) for error in errors if error]


def references(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    for inside in value if isinstance(value, list) else ():
        yield from references(inside)
