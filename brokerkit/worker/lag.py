"""Names the handler that blocks the event loop.

An async handler that computes or calls blocking code starves the heartbeats of everything else in the process. A
thread watches a beat that the loop sets; when it stands still, the thread looks at what the loop's thread executes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_log = logging.getLogger("brokerkit.worker")


class LagMonitor:
    """Watches one event loop.

    Args:
        threshold: Seconds without a beat after which a warning names the culprit.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._beat = 0.0
        self._warned_beat = -1.0
        self._thread_id = 0
        self._stop = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.blocked = 0
        """How many times the loop was found blocked."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running loop while the context is open; a threshold of 0 means not at all."""
        if not self._threshold:
            yield
            return
        self._thread_id = threading.get_ident()
        self._stop.clear()
        self._tick()
        thread = threading.Thread(target=self._watch, name="brokerkit-lag", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            if self._timer is not None:
                self._timer.cancel()

    def _tick(self) -> None:
        self._beat = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(self._threshold / 4, self._tick)

    def _watch(self) -> None:
        while not self._stop.wait(self._threshold / 2):
            beat = self._beat
            late = time.monotonic() - beat
            if late > self._threshold and beat != self._warned_beat:
                self._warned_beat = beat
                self.blocked += 1
                frame = sys._current_frames().get(self._thread_id)
                where = "".join(traceback.format_stack(frame, limit=6)) if frame else "unknown"
                _log.warning(
                    "the event loop has been blocked for %.1f s; make the handler's blocking call in a sync handler or "
                    "asyncio.to_thread. It is here:\n%s", late, where,
                )  # fmt: skip
