"""Every way in which a topology may change, as the topology before and after."""

from typing import Any, NamedTuple

import msgspec

from brokerkit import Binding, DeadLetter, Exchange, Group, Log, Queue, Retry, Topology
from brokerkit.topology import RabbitMQOptions

replace = msgspec.structs.replace


SECTIONS = ("exchanges", "queues", "logs", "groups")


class Mutation(NamedTuple):
    """What changes.

    Args:
        name: In words.
        before: Applied first.
        after: Then planned and applied.
    """

    name: str
    before: Topology
    after: Topology


ORDERS = Exchange("orders", "topic")
EVENTS = Exchange("events", "headers")
EU = Queue("eu", [Binding("orders", "eu.#")])
US = Queue("us", [Binding("orders", "us.#"), Binding("events", headers={"vip": True})], max_length=10)
HISTORY = Log("history", [Binding("orders", "#")], retention=3600.0)
FRAUD = Group("history", "fraud")
PLAIN = Exchange("plain")
BASE = Topology("shop", [ORDERS, EVENTS, PLAIN], [EU, US], [HISTORY], [FRAUD])


def _changed(section: str, name: str, **fields: Any) -> Topology:
    held = getattr(BASE, section)
    key = "key" if section == "groups" else "name"
    return replace(
        BASE, **{section: tuple(replace(each, **fields) if getattr(each, key) == name else each for each in held)}
    )


def _of(section: str, name: str, **variants: Any) -> list[Mutation]:
    return [
        Mutation(f"{section[:-1]}, {field} changed", BASE, _changed(section, name, **{field: value}))
        for field, value in variants.items()
    ]


def _added(section: str, new: Any) -> list[Mutation]:
    more = replace(BASE, **{section: (*getattr(BASE, section), new)})
    return [Mutation(f"{section[:-1]} added", BASE, more), Mutation(f"{section[:-1]} removed", more, BASE)]


MUTATIONS = [
    Mutation("everything added", Topology("shop"), BASE),
    Mutation("everything removed", BASE, Topology("shop")),
    *_added("exchanges", Exchange("audit", "fanout")),
    *_added("queues", Queue("asia", [Binding("orders", "asia.#")])),
    *_added("logs", Log("other", [Binding("orders", "#")])),
    *_added("groups", Group("history", "billing")),
    *_of("exchanges", "plain", alternate="orders", bindings=(Binding("orders", "#"),), type="fanout", durable=False),
    *_of(
        "queues", "eu",
        bindings=(Binding("orders", "europe.#"),), priorities=3, max_length=100, message_ttl=60.0, single_active=True,
        dead_letter=False, max_deliveries=9, type="classic", retry=Retry.fixed(max_retries=2, delay=1.0), timeout=9.0,
    ),
    Mutation("dead letters elsewhere", BASE, _changed("queues", "eu", dead_letter=DeadLetter("parking"))),
    Mutation("dead letters with a ttl", BASE, _changed("queues", "eu", dead_letter=DeadLetter(ttl=60.0))),
    *_of("queues", "us", max_length=20, strict=True, rabbitmq=RabbitMQOptions(arguments={"x-max-length-bytes": 1000})),
    Mutation("fewer lanes", _changed("queues", "eu", priorities=3), _changed("queues", "eu", priorities=2)),
    Mutation("one lane again", _changed("queues", "eu", priorities=3), BASE),
    Mutation("no limit", BASE, _changed("queues", "us", max_length=None)),
    *_of("logs", "history", retention=60.0, max_length=5, max_bytes=5000, bindings=()),
    *_of("groups", "history@fraud", dead_letter=False, max_deliveries=2),
]  # fmt: skip
"""What no broker but one can do, such as a log's history, is not among them."""


def focused(mutation: Mutation) -> Mutation:
    """The mutation without the queues that stay as they are: on some brokers each of them costs time."""
    stay = {queue for queue in mutation.before.queues if queue in mutation.after.queues}
    before, after = (
        replace(each, queues=tuple(queue for queue in each.queues if queue not in stay))
        for each in (mutation.before, mutation.after)
    )
    if before.groups == after.groups and before.logs == after.logs:
        before, after = (replace(each, groups=()) for each in (before, after))
    return Mutation(mutation.name, before, after)


def together(name: str, topologies: list[Topology]) -> Topology:
    """All of them as one."""
    sections: dict[str, Any] = {
        section: tuple(part for each in topologies for part in getattr(each, section)) for section in SECTIONS
    }
    return Topology(name, **sections)
