"""How fast one worker process empties a queue that was filled before."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.bench.brokers import fresh_broker, fresh_file
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import Child, play
from tests.bench.workload import Level

COUNTS = {"memory": (100_000, 3_000), "sqlite": (40_000, 2_000)}
GOALS = {"memory": Goal(50_000, 100_000), "sqlite": Goal(10_000, 20_000)}
DEFAULT_CONCURRENCY = 32


class Variant(msgspec.Struct, frozen=True):
    """One way to drain."""

    name: str
    record: Level = "none"
    reply: bool = False
    concurrency: int | None = None
    share: float | None = 1.0
    """Of the goal; None for no goal."""


VARIANTS = (
    Variant("drain"),
    Variant(f"drain, {DEFAULT_CONCURRENCY} slots", concurrency=DEFAULT_CONCURRENCY, share=None),
    Variant("drain, outcome records", record="outcome", share=0.5),
    Variant("drain, replies", reply=True, share=None),
    Variant("drain, records and replies", record="outcome", reply=True, share=None),
)


def measure(transport: str, options: Options) -> list[Figure]:
    """Tasks per second, until the last one has been acknowledged and its reply, if any, is with its caller."""
    return [_measure(transport, variant, options) for variant in VARIANTS]


def _measure(transport: str, variant: Variant, options: Options) -> Figure:
    count = options.count(*COUNTS[transport])
    concurrency = variant.concurrency or options.concurrency
    rates, plain, executed = [], [], []
    for _ in range(options.repeat):
        found = _brokerkit(transport, variant, count, concurrency, options.directory)
        rates.append(count / (max(found["emptied"], found.get("replied", 0.0)) - found["started"]))
        executed.append(count / (found["executed"] - found["started"]))
        plain.append(count / _plain(transport, variant, count, concurrency, options.directory))
    goal = GOALS[transport]
    share = variant.share
    return Figure(
        transport=transport,
        name=variant.name,
        unit="tasks/s",
        values=rates,
        plain=plain,
        goal=None if share is None else Goal(goal.must * share, (goal.aim or 0) * share),
        details={"count": count, "concurrency": concurrency, "until_executed": executed},
    )


def _brokerkit(transport: str, variant: Variant, count: int, concurrency: int, directory: str) -> dict[str, Any]:
    with fresh_broker(transport, directory) as url:
        what: dict[str, Any] = {"url": url, "count": count, "record": variant.record}
        if transport == "memory":
            return play("roles:drain_own", **what, concurrency=concurrency, reply=variant.reply)
        if not variant.reply:
            play("roles:fill", **what)
            return play("roles:drain", **what, concurrency=concurrency)
        with Child("roles:call", **what) as caller:
            caller.ready().go_on()
            found = play("roles:drain", **what, concurrency=concurrency)
            return {**found, **caller.result()}


def _plain(transport: str, variant: Variant, count: int, concurrency: int, directory: str) -> float:
    what = {
        "count": count,
        "concurrency": concurrency,
        "records": variant.record != "none",
        "replies": variant.reply,
    }
    if transport == "memory":
        found = play("plain:drain", **what)
    else:
        with fresh_file(directory) as path:
            found = play("plain_sqlite:drain", path=path, **what)
    return float(found["seconds"])
