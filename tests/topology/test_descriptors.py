import ast
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

import brokerkit.topology
from brokerkit.topology import (
    Binding,
    DeadLetter,
    Exchange,
    Group,
    HeaderValue,
    Log,
    Queue,
    RabbitMQOptions,
    RedisOptions,
    Retry,
    Topology,
)

ORDERS = Exchange("orders", type="topic")


def test_a_queue_with_only_a_name_has_the_documented_defaults() -> None:
    queue = Queue("payments")
    assert (queue.bindings, queue.type, queue.priorities, queue.strict, queue.weights) == ((), "quorum", 1, False, None)
    assert (queue.max_wait, queue.retry, queue.max_deliveries, queue.dead_letter) == (None, None, 5, True)
    assert (queue.max_length, queue.message_ttl, queue.timeout) == (None, None, None)
    assert (queue.single_active, queue.mode, queue.rabbitmq, queue.redis) == (False, None, None, None)


def test_an_exchange_with_only_a_name_is_direct_and_durable() -> None:
    exchange = Exchange("orders")
    assert (exchange.type, exchange.durable, exchange.alternate, exchange.bindings) == ("direct", True, None, ())


def test_a_list_of_bindings_and_a_tuple_of_them_make_equal_queues() -> None:
    assert Queue("eu", bindings=[ORDERS.bind("eu.*")]) == Queue("eu", (Binding("orders", "eu.*"),))


def test_bind_names_the_exchange_and_takes_a_key_or_headers() -> None:
    assert ORDERS.bind("a.#") == Binding("orders", "a.#")
    assert ORDERS.bind() == Binding("orders", "")
    wanted = Binding("orders", "", {"region": "eu"}, "any")
    assert ORDERS.bind(headers={"region": "eu"}, match="any") == wanted


def test_an_alternate_given_as_an_object_equals_one_given_by_name() -> None:
    assert Exchange("orders", alternate=Exchange("rest", "fanout")) == Exchange("orders", alternate="rest")


def test_a_group_takes_its_log_as_an_object_or_by_name() -> None:
    assert Group(Log("history"), "fraud") == Group("history", "fraud")


def test_durations_are_seconds_whether_given_as_number_or_timedelta() -> None:
    log = Log("history", retention=timedelta(days=7))
    assert log == Log("history", retention=604800)
    assert isinstance(log.retention, float)
    assert isinstance(Log("history", retention=604800).retention, float)
    assert Queue("q", max_wait=timedelta(minutes=1), message_ttl=timedelta(hours=1), timeout=timedelta(seconds=2)) == (
        Queue("q", max_wait=60.0, message_ttl=3600.0, timeout=2.0)
    )
    assert DeadLetter(ttl=timedelta(days=1)).ttl == 86400.0
    assert Group("history", "fraud", timeout=timedelta(seconds=3)).timeout == 3.0


@pytest.mark.parametrize(
    ("queue", "name"),
    [
        (Queue("payments"), "payments.dead"),
        (Queue("payments", dead_letter=DeadLetter(ttl=60)), "payments.dead"),
        (Queue("payments", dead_letter=DeadLetter("parking")), "parking"),
        (Queue("payments", dead_letter=False), None),
        (Group("history", "fraud"), "history@fraud.dead"),
        (Group("history", "fraud", dead_letter=DeadLetter("parking")), "parking"),
        (Group("history", "fraud", dead_letter=False), None),
    ],
)
def test_the_dead_letter_queue_is_named_after_its_owner_unless_named_or_refused(
    queue: Queue | Group, name: str | None
) -> None:
    assert queue.dead_letter_name == name


def test_an_empty_dead_letter_setting_means_the_same_as_true() -> None:
    assert Queue("payments", dead_letter=DeadLetter()) == Queue("payments")


def test_a_group_is_known_by_its_log_and_name() -> None:
    assert Group("history", "fraud").key == "history@fraud"


def test_a_queue_has_one_lane_per_priority_level() -> None:
    assert Queue("payments", priorities=3).lanes == 3


def test_equal_descriptors_are_one_element_of_a_set() -> None:
    headers: dict[str, HeaderValue] = {"region": "eu", "size": 3}
    first = Queue("q", [Binding("x", headers=headers)], rabbitmq=RabbitMQOptions(arguments={"x-a": 1}))
    second = Queue("q", (Binding("x", headers=dict(headers)),), rabbitmq=RabbitMQOptions(arguments={"x-a": 1}))
    assert len({first, second, Queue("other")}) == 2


def test_changing_the_headers_dict_afterwards_does_not_change_the_binding() -> None:
    headers: dict[str, HeaderValue] = {"region": "eu"}
    binding = Binding("x", headers=headers)
    headers["region"] = "us"
    assert binding.headers == {"region": "eu"}


def test_descriptors_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Queue("payments").name = "other"  # type: ignore[misc]


def test_a_binding_remembers_the_exchange_object_it_was_made_from_outside_its_value() -> None:
    assert ORDERS.bind("a").source is ORDERS
    assert Binding("orders", "a").source is None
    assert Exchange("x", alternate=ORDERS).alternate_source is ORDERS
    assert Exchange("x", alternate="orders").alternate_source is None


def full_topology() -> Topology:
    rest = Exchange("rest", "fanout")
    orders = Exchange("orders", "topic", alternate=rest, rabbitmq=RabbitMQOptions(arguments={"x-a": True}))
    fancy = Exchange("fancy", "headers", False, bindings=[orders.bind("#")])
    return Topology(
        "shop",
        exchanges=[rest, orders, fancy],
        queues=[
            Queue("plain"),
            Queue(
                "payments",
                [orders.bind("order.*"), fancy.bind(headers={"n": 1, "f": 1.5, "b": False, "s": "x", "p": None})],
                priorities=3,
                weights=[1, 2, 3],
                max_wait=timedelta(seconds=30),
                retry=Retry.linear(5, 1, 2, 30, retry_on=(ConnectionError,)),
                dead_letter=DeadLetter("parking", timedelta(days=1), 1000),
                rabbitmq=RabbitMQOptions(native_priority=True),
                redis=RedisOptions(hash_tag="shop"),
            ),
        ],
        logs=[Log("history", [orders.bind("#")], timedelta(days=7), 5 << 30, history=True)],
        groups=[Group("history", "fraud", "earliest", Retry.fixed(1, 5))],
    )


def test_a_topology_survives_json_and_msgpack_unchanged() -> None:
    topology = full_topology()
    assert msgspec.json.decode(msgspec.json.encode(topology), type=Topology) == topology
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(topology), type=Topology) == topology


def test_a_topology_can_be_decoded_from_plain_mappings_as_files_give_them() -> None:
    plain = {
        "name": "shop",
        "exchanges": [{"name": "orders", "type": "topic"}],
        "queues": [{"name": "eu", "bindings": [{"exchange": "orders", "key": "eu.*"}], "retry": {"kind": "none"}}],
    }
    wanted = Topology("shop", [ORDERS], [Queue("eu", [ORDERS.bind("eu.*")], retry=Retry.none())])
    assert msgspec.convert(plain, Topology) == wanted


@pytest.mark.parametrize("kind", [Binding, DeadLetter, Exchange, Group, Log, Queue, Retry, Topology])
def test_decoding_refuses_a_field_that_does_not_exist(kind: type[msgspec.Struct]) -> None:
    plain = {"name": "x", "exchange": "x", "log": "x", "colour": "red"}
    known = {name: value for name, value in plain.items() if name in (*kind.__struct_fields__, "colour")}
    with pytest.raises(msgspec.ValidationError, match="colour"):
        msgspec.convert(known, kind)


def typed_constructors() -> dict[str, dict[str, str | None]]:
    """Parameter names and defaults of the constructors that only type checkers see, by class."""
    found: dict[str, dict[str, str | None]] = {}
    for path in Path(brokerkit.topology.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                for method in ast.walk(node):
                    if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                        found[node.name] = parameters(method)
    return found


def parameters(method: ast.FunctionDef) -> dict[str, str | None]:
    names = [argument.arg for argument in method.args.args[1:]]
    defaults = [ast.unparse(default) for default in method.args.defaults]
    required: list[str | None] = [None] * (len(names) - len(defaults))
    return dict(zip(names, required + list(defaults), strict=True))


@pytest.mark.parametrize("kind", [Binding, DeadLetter, Exchange, Group, Log, Queue, Retry, Topology])
def test_the_constructor_that_type_checkers_see_is_the_one_that_runs(kind: type[msgspec.Struct]) -> None:
    fields = msgspec.structs.fields(kind)
    real = {field.name: None if field.default is msgspec.NODEFAULT else repr(field.default) for field in fields}
    assert typed_constructors()[kind.__name__] == real
