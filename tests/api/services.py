"""Examples of several processes, run on any broker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.api.probes import PATIENCE, run

PRINTED = [
    "books: o-0 order.eu.paid",
    "books: o-0 order.eu.placed",
    "books: o-1 order.eu.placed",
    "books: o-2 order.eu.placed",
    "books: o-3 order.eu.placed",
    "nobody wants refunds",
    "packing o-0, 1 lines",
    "packing o-1, 2 lines",
    "packing o-2, 3 lines",
    "packing o-3, 9 lines",
]
"""What both print, sorted."""


def shop_and_warehouse(folder: Path, url: str, log: Path) -> list[str]:
    """Run the warehouse, let the shop publish, and return what both printed, sorted, once it is enough."""
    with _worker(folder, "warehouse:app", url, log) as worker:
        _until(lambda: "ready: " in log.read_text(), worker, log)
        printed = run(folder / "shop.py", url=url).splitlines()
        _until(lambda: len(_lines(log)) + len(printed) >= len(PRINTED), worker, log)
    return sorted(_lines(log) + printed)


def meter(folder: Path, url: str, log: Path) -> list[str]:
    """Run three members of the groups, let readings come, and return what the members printed once it is enough."""
    with _worker(folder, "meter:app", url, log, "--processes", "3", "--concurrency", "2") as worker:
        _until(lambda: log.read_text().count("ready: ") == 3, worker, log)
        assert run(folder / "meter.py", url=url) == ""
        _until(lambda: sum(line.startswith("s-") for line in _lines(log)) >= 34, worker, log)
    return _lines(log)


def _lines(log: Path) -> list[str]:
    """What the handlers printed: the worker's own lines begin with the time."""
    return [line for line in log.read_text().splitlines() if not line[:1].isdigit()]


@contextmanager
def _worker(folder: Path, target: str, url: str, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-W", "error", "-m", "brokerkit", "worker", target, *options]
    # Unbuffered, a line and its end would be written one after the other, and another process might come between.
    env = {**os.environ, "BROKERKIT_URL": url, "PYTHONUNBUFFERED": ""}
    with log.open("a") as output:  # whoever writes, writes at the end
        worker = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield worker
        worker.terminate()
        assert worker.wait(timeout=PATIENCE) == 0, log.read_text()
    finally:
        worker.kill()
        worker.wait()


def _until(done: Callable[[], bool], worker: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert worker.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
