"""How fast confirmed messages are published."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.bench.brokers import WITHOUT_RECORDS, family, fresh_broker, fresh_plain, fresh_raw
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import play
from tests.bench.workload import Level

BATCH = 100
SENDERS = 4
GOALS = {
    "sqlite": Goal(30_000),
    "redis": Goal(30_000, 50_000),
    "rabbitmq quorum": Goal(20_000, 35_000),
    "rabbitmq classic": Goal(12_000, 17_000),
}


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
    none = family(transport) in WITHOUT_RECORDS
    return [_measure(transport, each, options) for each in VARIANTS if each.record == "none" or not none]


def _measure(transport: str, variant: Variant, options: Options) -> Figure:
    count = options.count(*variant.counts)
    rates, plain, raw = [], [], []
    for _ in range(options.repeat):
        with fresh_broker(transport, options.directory) as url:
            rates.append(count / play(f"roles:publish_{variant.role}", **_arguments(variant, url, count))["seconds"])
        plain.append(count / _plain(transport, variant, count, options.directory))
        raw += _raw(transport, variant, count)
    return Figure(
        transport=transport,
        name=variant.name,
        unit="messages/s",
        values=rates,
        plain=plain,
        raw=raw,
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
    what: dict[str, Any] = {"count": count, "batch": variant.batch}
    if family(transport) not in WITHOUT_RECORDS:
        what["records"] = variant.record != "none"
    with fresh_plain(transport, directory) as (module, where):
        return float(play(f"{module}:publish", **where, **what)["seconds"])


def _raw(transport: str, variant: Variant, count: int) -> list[float]:
    with fresh_raw(transport) as found:
        if found is None:
            return []
        module, where = found
        return [count / play(f"{module}:publish", **where, count=count, batch=variant.batch)["seconds"]]
