"""How soon a lonely task starts on an idle worker, and how soon its result is back."""

from __future__ import annotations

from statistics import quantiles
from typing import Any

from tests.bench.brokers import fresh_broker, fresh_plain
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import Child, play

GOALS = {
    "sqlite": Goal(2.0),
    "redis": Goal(1.0, 0.6),
    "rabbitmq quorum": Goal(1.2, 0.8),
    "rabbitmq classic": Goal(1.2, 0.8),
}
"""Milliseconds."""
TRIP_GOALS = {"redis": Goal(2.0), "rabbitmq quorum": Goal(2.0), "rabbitmq classic": Goal(2.0)}


def measure(transport: str, options: Options) -> list[Figure]:
    """Milliseconds from calling ``send``, which confirms, until the handler starts, and until its result is here.

    Except in memory the sender and the worker are two processes with one clock.
    """
    count = options.count(300, 20)
    found = _brokerkit(transport, count, options)
    plain = _plain(transport, count, options.directory) if transport != "memory" else {}
    start, trip = _percentiles(found["dispatches"]), _percentiles(found["trips"])
    plain_start, plain_trip = _percentiles(plain.get("dispatches")), _percentiles(plain.get("trips"))
    return [
        _figure(transport, "idle start p50", start[50], plain_start.get(50), GOALS.get(transport)),
        _figure(transport, "idle start p99", start[99], plain_start.get(99)),
        _figure(transport, "idle round trip p50", trip[50], plain_trip.get(50), TRIP_GOALS.get(transport)),
        _figure(transport, "idle round trip p99", trip[99], plain_trip.get(99)),
    ]


def _brokerkit(transport: str, count: int, options: Options) -> dict[str, Any]:
    with fresh_broker(transport, options.directory) as url:
        if transport == "memory":
            return play("roles:lonely_calls", url=url, count=count, own_worker=True)
        with Child("roles:serve", url=url, concurrency=options.concurrency) as worker:
            worker.ready()
            found = play("roles:lonely_calls", url=url, count=count, own_worker=False)
            worker.go_on()
            worker.result()
            return found


def _plain(transport: str, count: int, directory: str) -> dict[str, Any]:
    with fresh_plain(transport, directory) as (module, where), Child(f"{module}:serve", **where) as worker:
        worker.ready().go_on()
        found = play(f"{module}:lonely_calls", **where, count=count)
        worker.result()
        return found


def _percentiles(seconds: list[float] | None) -> dict[int, float]:
    if not seconds:
        return {}
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {50: cuts[49] * 1000, 99: cuts[98] * 1000}


def _figure(transport: str, name: str, value: float, plain: float | None, goal: Goal | None = None) -> Figure:
    beside = [] if plain is None else [plain]
    return Figure(transport=transport, name=name, unit="ms", values=[value], plain=beside, goal=goal, rising=False)
