"""What brokerkit costs when it is loaded, when it waits, and when it has worked."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from tests.bench.brokers import fresh_broker
from tests.bench.figures import Figure, Goal, Options
from tests.bench.processes import ROOT, Child, play

_IMPORT = "import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"


def measure_import(_transport: str, options: Options) -> list[Figure]:
    """Milliseconds of ``import brokerkit`` in a fresh interpreter; beside it what it stands on."""
    brokerkit, beneath = [], []
    _imported("brokerkit")  # leaves its bytecode
    for _ in range(options.count(11, 2)):
        brokerkit.append(_imported("brokerkit"))
        beneath.append(_imported("asyncio, msgspec"))
    return [
        Figure(
            transport="",
            name="import brokerkit",
            unit="ms",
            values=brokerkit,
            plain=beneath,
            goal=Goal(80),
            rising=False,
            details={"plain": "import asyncio, msgspec"},
        )
    ]


def _imported(module: str) -> float:
    command = [sys.executable, "-c", _IMPORT.format(module=module)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout) * 1000


def measure_idle(transport: str, options: Options) -> list[Figure]:
    """Percent of one processor that a worker with nothing to do takes; it needs a process of its own."""
    if transport == "memory":
        return []
    with (
        fresh_broker(transport, options.directory) as url,
        Child("roles:serve", url=url, concurrency=options.concurrency) as worker,
    ):
        worker.ready()
        time.sleep(options.count(1, 0))
        share = _cpu_share(worker.pid, options.count(5, 1))
        worker.go_on()
        worker.result()
    return [Figure(transport=transport, name="idle CPU", unit="%", values=[share], goal=Goal(2.0), rising=False)]


def _cpu_share(pid: int, seconds: float) -> float:
    process = psutil.Process(pid)
    started, before = time.perf_counter(), sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return 100 * (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - started)


def measure_memory(transport: str, options: Options) -> list[Figure]:
    """Resident megabytes of a worker process after it has run some tasks."""
    count = options.count(10_000, 500)
    if transport == "memory":
        return []  # the messages would be weighed, not the worker
    with fresh_broker(transport, options.directory) as url:
        play("roles:fill", url=url, count=count, record="none")
        with Child("roles:serve", url=url, concurrency=options.concurrency, count=count) as worker:
            worker.ready()
            resident = psutil.Process(worker.pid).memory_info().rss / 1e6
            worker.go_on()
            worker.result()
    name = f"RSS after {count:,} tasks".replace(",", " ")
    return [Figure(transport=transport, name=name, unit="MB", values=[resident], goal=Goal(45, 35), rising=False)]
