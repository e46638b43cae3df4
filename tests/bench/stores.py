"""How fast a worker commits outcomes to a store apart from its broker, which is memory and takes next to nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bench.brokers import fresh_broker
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import play
from tests.brokers import broker_url
from tests.sql.making import Place

GOALS = {"sqlite": Goal(10_000), "redis": Goal(15_000), "postgresql": Goal(8_000), "mariadb": Goal(4_000)}


def measure(_: str, options: Options) -> list[Figure]:
    """Outcome records per second through the worker's group commit, PENDING ones written before."""
    found: list[Figure] = []
    for store, goal in GOALS.items():
        count = options.count(20_000, 1_000)
        try:
            rates = [_drain(store, count, options) for _ in range(options.repeat)]
        except (pytest.skip.Exception, pytest.fail.Exception) as error:
            print(f"store {store}: not measured: {error}", file=sys.stderr)
            continue
        name, details = "outcomes in a store apart", {"count": count, "concurrency": options.concurrency}
        found.append(
            Figure(transport=f"memory, {store}", name=name, unit="tasks/s", values=rates, goal=goal, details=details)
        )
    return found


def _drain(store: str, count: int, options: Options) -> float:
    with _fresh_store(store, options.directory) as url:
        found = play(
            "roles:drain_own",
            url="memory://",
            store=url,
            count=count,
            record="outcome",
            concurrency=options.concurrency,
        )
    return count / float(found["emptied"] - found["started"])


@contextmanager
def _fresh_store(store: str, directory: str) -> Iterator[str]:
    """The URL of an empty store, gone afterwards."""
    if store in ("sqlite", "redis"):
        with fresh_broker(store, directory) as url:
            yield url
        return
    place = Place(store, broker_url(store))
    place.make()
    try:
        yield place.url(place.prefix())
    finally:
        place.drop()
