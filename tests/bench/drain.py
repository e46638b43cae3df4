"""How fast one worker process empties a queue that was filled before."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.bench.brokers import WITHOUT_RECORDS, family, fresh_broker, fresh_plain, fresh_raw, left_over
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import Child, play
from tests.bench.workload import Level

COUNTS = {"memory": (100_000, 3_000), "sqlite": (40_000, 2_000), "redis": (40_000, 2_000), "rabbitmq": (40_000, 2_000)}
GOALS = {
    "memory": Goal(50_000, 100_000),
    "sqlite": Goal(10_000, 20_000),
    "redis": Goal(30_000, 50_000),
    "rabbitmq quorum": Goal(40_000, 70_000),
    "rabbitmq classic": Goal(25_000, 33_000),
}
REPLY_GOALS = {"rabbitmq quorum": Goal(15_000), "rabbitmq classic": Goal(15_000)}
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
    none = family(transport) in WITHOUT_RECORDS
    return [_measure(transport, each, options) for each in VARIANTS if each.record == "none" or not none]


def _measure(transport: str, variant: Variant, options: Options) -> Figure:
    count = options.count(*COUNTS[family(transport)])
    concurrency = variant.concurrency or options.concurrency
    rates, plain, raw, executed = [], [], [], []
    for _ in range(options.repeat):
        found = _brokerkit(transport, variant, count, concurrency, options.directory)
        rates.append(count / (max(found["emptied"], found.get("replied", 0.0)) - found["started"]))
        executed.append(count / (found["executed"] - found["started"]))
        plain.append(count / _plain(transport, variant, count, concurrency, options.directory))
        raw += _raw(transport, variant, count)
    return Figure(
        transport=transport,
        name=variant.name,
        unit="tasks/s",
        values=rates,
        plain=plain,
        raw=raw,
        goal=_goal(transport, variant),
        details={"count": count, "concurrency": concurrency, "until_executed": executed},
    )


def _goal(transport: str, variant: Variant) -> Goal | None:
    if variant.share is None:
        return REPLY_GOALS.get(transport) if variant.reply and variant.record == "none" else None
    goal = GOALS[transport]
    return Goal(goal.must * variant.share, (goal.aim or 0) * variant.share)


def _brokerkit(transport: str, variant: Variant, count: int, concurrency: int, directory: str) -> dict[str, Any]:
    with fresh_broker(transport, directory) as url:
        what: dict[str, Any] = {"url": url, "count": count, "record": variant.record}
        if transport == "memory":
            return play("roles:drain_own", **what, concurrency=concurrency, reply=variant.reply)
        if not variant.reply:
            play("roles:fill", **what)
            found = play("roles:drain", **what, concurrency=concurrency)
            if left := left_over(transport, url):
                raise RuntimeError(f"{left} of {count} messages are still there: they were not acknowledged")
            return found
        with Child("roles:call", **what) as caller:
            caller.ready().go_on()
            found = play("roles:drain", **what, concurrency=concurrency)
            return {**found, **caller.result()}


def _plain(transport: str, variant: Variant, count: int, concurrency: int, directory: str) -> float:
    what = {"count": count, "concurrency": concurrency, "replies": variant.reply}
    if family(transport) not in WITHOUT_RECORDS:
        what["records"] = variant.record != "none"
    with fresh_plain(transport, directory) as (module, where):
        return float(play(f"{module}:drain", **where, **what)["seconds"])


def _raw(transport: str, variant: Variant, count: int) -> list[float]:
    with fresh_raw(transport) as found:
        if found is None or variant.reply:
            return []
        module, where = found
        return [count / play(f"{module}:drain", **where, count=count)["seconds"]]
