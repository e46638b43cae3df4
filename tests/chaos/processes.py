"""Worker processes that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


class Workers:
    """A few worker processes on one broker.

    Args:
        url: The broker.
        log: Where executions are noted.
        store: "broker", a URL, or "none".
    """

    def __init__(self, url: str, log: Path, store: str = "broker") -> None:
        self.environment = {**os.environ, "BROKERKIT_URL": url, "CHAOS_LOG": str(log), "CHAOS_STORE": store}
        self.alive: list[subprocess.Popen[str]] = []
        self.killed: set[int] = set()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.worker", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.alive.append(worker)
        return worker

    def ready(self) -> None:
        """Wait until each says so."""
        for worker in self.alive:
            self.wait_for(worker)

    def wait_for(self, worker: subprocess.Popen[str]) -> None:
        """Wait until one says that it works."""
        assert worker.stdout is not None
        assert worker.stdout.readline().strip() == "ready"

    def kill(self, worker: subprocess.Popen[str]) -> None:
        worker.send_signal(signal.SIGKILL)
        self.buried(worker)

    def buried(self, worker: subprocess.Popen[str]) -> None:
        """Wait for the end of a process that was killed, or killed itself."""
        assert worker.wait(timeout=30) == -signal.SIGKILL
        self.killed.add(worker.pid)
        self.alive.remove(worker)
        _close(worker)

    def retire(self, worker: subprocess.Popen[str]) -> None:
        """Let one drain and end."""
        _end([worker])
        self.alive.remove(worker)

    def stop(self) -> None:
        """Let each drain and end."""
        alive, self.alive = self.alive, []
        _end(alive)

    def bury(self) -> None:
        """End what is left of them, hanging or not."""
        while self.alive:
            worker = self.alive.pop()
            worker.kill()
            worker.wait()
            _close(worker)


Hire = Callable[..., Workers]
"""Makes the workers of a test; takes the broker's URL, and where records are kept."""


def _end(workers: Sequence[subprocess.Popen[str]]) -> None:
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
    try:
        assert [worker.wait(timeout=30) for worker in workers] == [0] * len(workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            _close(worker)


def _close(worker: subprocess.Popen[str]) -> None:
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None and not pipe.closed:
            pipe.close()


def until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every 50 ms until it is so."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
