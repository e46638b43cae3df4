"""How a worker process is asked to stop: by signals, or by the supervisor that started it.

Each word raises the level: at 1 the worker drains, at 2 it cancels what still runs, at 3 the process leaves at once. A
thread watches, since a handler that blocks the event loop blocks its signals as well.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, NoReturn, TypeVar

from brokerkit.cli.errors import ExitCode

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CLEAN_UP = 10.0
"""Seconds a worker takes after its grace for cancelled handlers and the last commit, at most."""
MARGIN = 5.0
CANCELLED = 6.0
"""Seconds that handlers get once a second signal has cancelled them."""

_log = logging.getLogger("brokerkit.cli")

T = TypeVar("T")


class Level(enum.IntEnum):
    """How urgently."""

    RUN = 0
    DRAIN = 1
    CANCEL = 2
    LEAVE = 3


def handled() -> list[signal.Signals]:
    """The signals to listen to: not those that a parent such as nohup has switched off."""
    return [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]


def interruptible(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that every signal ends as Ctrl-C does: it is cancelled, cleans up, and the command is over."""

    async def guarded() -> T:
        task = asyncio.current_task()
        assert task is not None
        for each in handled():
            asyncio.get_running_loop().add_signal_handler(each, task.cancel)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def leave_hard() -> NoReturn:
    """End the process now. Nothing is acknowledged, so that every message it held is delivered again."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(ExitCode.HARD)


class Stopper:
    """Raises the level and sees to it that the process ends.

    Args:
        grace: Seconds a drain leaves to running handlers.
        supervisor: The supervisor's end: it sends the level as a digit, and its end means 1. Signals then never mean
            more than 1, since whoever signals a whole process group or service also reaches the supervisor.
    """

    def __init__(self, grace: float, supervisor: socket.socket | None = None) -> None:
        self.level = Level.RUN
        self._patience = {Level.DRAIN: grace + CLEAN_UP + MARGIN, Level.CANCEL: CANCELLED}
        self._supervisor = supervisor
        self._react: Callable[[Level], None] | None = None
        self._deadline: float | None = None
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)

    def start(self) -> None:
        """Take over the signals; from the main thread, before the event loop runs."""
        for each in handled():
            signal.signal(each, self._signalled)
        threading.Thread(target=self._watch, name="brokerkit-stopper", daemon=True).start()

    def attach(self, react: Callable[[Level], None]) -> None:
        """Call ``react`` on the running event loop at each new level, and at once if there is one."""
        loop = asyncio.get_running_loop()

        def soon(level: Level) -> None:
            loop.call_soon_threadsafe(react, level)

        self._react = soon
        if self.level:
            react(self.level)

    def ready(self) -> None:
        """Tell the supervisor that this process works."""
        if self._supervisor is not None:
            try:
                self._supervisor.send(b"R")
            except OSError:
                pass  # it has ended: the watching thread sees that

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        # Nothing but a write: this may interrupt anything, also code that holds a lock.
        try:
            os.write(self._write, b"s")
        except BlockingIOError:
            pass

    def _watch(self) -> None:
        sources: list[int | socket.socket] = [self._read]
        if self._supervisor is not None:
            sources.append(self._supervisor)
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            heard = select.select(sources, [], [], left)[0]
            if not heard:
                _log.error("handlers have not ended in time; leaving without acknowledging them")
                leave_hard()
            if self._read in heard:
                self._raise_by_signals(len(os.read(self._read, 16)))
            if self._supervisor in heard and not self._raise_by_supervisor():
                sources = [self._read]

    def _raise_by_signals(self, number: int) -> None:
        self._raise(Level.DRAIN if self._supervisor is not None else min(self.level + number, Level.LEAVE))

    def _raise_by_supervisor(self) -> bool:
        assert self._supervisor is not None
        try:
            words = self._supervisor.recv(16)
        except OSError:
            words = b""
        self._raise(max((int(chr(word)) for word in words), default=Level.DRAIN))
        return bool(words)

    def _raise(self, wanted: int) -> None:
        if wanted <= self.level:
            return
        self.level = level = Level(wanted)
        if level is Level.LEAVE:
            _log.error("leaving at once, without acknowledging what runs")
            leave_hard()
        self._deadline = time.monotonic() + self._patience[level]
        if self._react is not None:
            try:
                self._react(level)
            except RuntimeError:
                pass  # the loop has ended by itself
