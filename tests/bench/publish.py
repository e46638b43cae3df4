"""How fast confirmed messages are published."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.bench.brokers import fresh_broker, fresh_file
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import play
from tests.bench.workload import Level

BATCH = 100
SENDERS = 4
GOALS = {"sqlite": Goal(30_000)}


class Variant(msgspec.Struct, frozen=True):
    """One way to publish."""

    name: str
    role: str
    counts: tuple[int, int]
    batch: int = BATCH
    record: Level = "none"
    arguments: dict[str, Any] = {}
    has_goal: bool = False


VARIANTS = (
    Variant(f"publish, batches of {BATCH}", "batches", (40_000, 1_000), has_goal=True),
    Variant(f"publish, batches of {BATCH}, outcome records", "batches", (40_000, 1_000), record="outcome"),
    Variant(f"publish, {SENDERS} senders of batches", "batches", (40_000, 2_000), arguments={"senders": SENDERS}),
    Variant("publish, one by one", "single", (3_000, 200), batch=1),
    Variant("publish, one by one, outcome records", "single", (3_000, 200), batch=1, record="outcome"),
    Variant(f"publish events, batches of {BATCH}", "events", (40_000, 1_000)),
)


def measure(transport: str, options: Options) -> list[Figure]:
    """Messages per second, each batch confirmed before the next one is made; making them included."""
    return [_measure(transport, variant, options) for variant in VARIANTS]


def _measure(transport: str, variant: Variant, options: Options) -> Figure:
    count = options.count(*variant.counts)
    rates, plain = [], []
    for _ in range(options.repeat):
        with fresh_broker(transport, options.directory) as url:
            rates.append(count / play(f"roles:publish_{variant.role}", **_arguments(variant, url, count))["seconds"])
        plain.append(count / _plain(transport, variant, count, options.directory))
    return Figure(
        transport=transport,
        name=variant.name,
        unit="messages/s",
        values=rates,
        plain=plain,
        goal=GOALS.get(transport) if variant.has_goal else None,
        details={"count": count, "batch": variant.batch},
    )


def _arguments(variant: Variant, url: str, count: int) -> dict[str, Any]:
    arguments = {"url": url, "count": count, **variant.arguments}
    if variant.role != "single":
        arguments["batch"] = variant.batch
    if variant.role != "events":
        arguments["record"] = variant.record
    return arguments


def _plain(transport: str, variant: Variant, count: int, directory: str) -> float:
    what = {"count": count, "batch": variant.batch, "records": variant.record != "none"}
    if transport == "memory":
        found = play("plain:publish", **what)
    else:
        with fresh_file(directory) as path:
            found = play("plain_sqlite:publish", path=path, **what)
    return float(found["seconds"])
