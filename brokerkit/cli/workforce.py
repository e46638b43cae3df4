"""Several worker processes, kept alive.

A process that dies is started again after a pause that doubles; when too many die soon after their start, all are
stopped. The first process must say that it works before the others are started, so that a mistake is reported once.
Processes are told to stop through a socket, which also tells them when their supervisor has gone. They have a session
of their own, so that a Ctrl-C reaches them once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

import brokerkit
from brokerkit.cli.errors import ExitCode
from brokerkit.cli.stopping import CLEAN_UP, MARGIN, Level

_SAID_WHY = {ExitCode.FAILED, ExitCode.USAGE}
"""Codes with which a process ends that has said what is wrong."""


class Restarts(msgspec.Struct, frozen=True, kw_only=True):
    """When a dead process is started again.

    Args:
        pause: Seconds before the first new start; doubled each time. Default 0.2.
        longest: The longest pause. Default 10.
        stable: Seconds after which a death is no longer an early one. Default 30.
        deaths: Early deaths per process, counted together, after which all is given up. Default 5.
    """

    pause: float = 0.2
    longest: float = 10.0
    stable: float = 30.0
    deaths: int = 5


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a process.

    Args:
        kind: "started", "ready", "died", "ended" (as asked), "storm" (given up).
        number: Which process, from 1.
        pid: Its process id.
        code: Its exit code, negative for a signal.
        pause: Seconds until it is started again.
    """

    kind: str
    number: int
    pid: int
    code: int = 0
    pause: float = 0.0

    @property
    def how(self) -> str:
        """How it ended, in words."""
        return f"killed by {signal.Signals(-self.code).name}" if self.code < 0 else f"exit code {self.code}"


class _Child:
    def __init__(self, number: int, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.number, self.process, self.channel = number, process, channel
        self.ready = False
        self.started = time.monotonic()

    def tell(self, level: Level) -> None:
        with suppress(OSError):
            self.channel.send(str(int(level)).encode())

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


class Workforce:
    """Runs ``size`` processes of one command.

    Args:
        command: Arguments of ``brokerkit``; ``--supervisor FD`` is added.
        size: How many processes.
        grace: Seconds a process takes to drain, at most.
        restarts: See ``Restarts``.
        report: Told of every change.
        environment: Added to this process's.
        errors: Where their stderr goes; None for this process's.
    """

    def __init__(
        self,
        command: Sequence[str],
        size: int,
        *,
        grace: float,
        report: Callable[[Change], None],
        restarts: Restarts | None = None,
        environment: Mapping[str, str] | None = None,
        errors: IO[bytes] | None = None,
    ) -> None:
        self._command = [sys.executable, "-P", "-m", "brokerkit", *command]
        self._size, self._grace, self._report = size, grace, report
        self._restarts = restarts or Restarts()
        self._environment = _environment(environment or {})
        self._errors = errors
        self._children: dict[int, _Child] = {}
        self._level = Level.RUN
        self._early = 0
        self._worst = ExitCode.DONE
        self._settled = asyncio.Event()
        """Set when the first process works, or when all is over."""
        self._over = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The processes that work now."""
        return [child.process.pid for child in self._children.values() if child.ready]

    def kill(self, pid: int) -> None:
        """Kill one of them with SIGKILL, as the kernel does when memory runs out."""
        for child in self._children.values():
            if child.process.pid == pid:
                child.kill()

    def stop(self) -> None:
        """Ask all to stop; each further call is more urgent."""
        self._stop(Level(min(self._level + 1, Level.LEAVE)))

    async def run(self) -> ExitCode:
        """Keep them alive until they are stopped, or cannot be. When cancelled, none is left."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep(1))
            await self._settled.wait()
            for number in range(2, self._size + 1):
                group.create_task(self._keep(number))
        return self._worst

    async def _keep(self, number: int) -> None:
        in_a_row = 0
        while not self._level:
            child, code = await self._live(number)
            if self._level:
                self._ended(child, code)
                return
            early = time.monotonic() - child.started < self._restarts.stable
            in_a_row = in_a_row + 1 if early else 1
            self._early = self._early + 1 if early else 1
            if self._is_hopeless(child, code):
                return
            pause = min(self._restarts.pause * 2.0 ** (in_a_row - 1), self._restarts.longest)
            self._tell("died", child, code, pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._over.wait()

    async def _live(self, number: int) -> tuple[_Child, int]:
        """One process, from start to end."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._command, "--supervisor", str(theirs.fileno()),
                    pass_fds=[theirs.fileno()], env=self._environment, stderr=self._errors,
                    stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            child = self._children[number] = _Child(number, process, ours)
            self._tell("started", child)
            loop = asyncio.get_running_loop()
            loop.add_reader(ours, self._hear, child)
            try:
                if self._level:
                    child.tell(self._level)
                return child, await process.wait()
            finally:
                loop.remove_reader(ours)
                del self._children[number]
                if process.returncode is None:
                    child.kill()
                    await process.wait()

    def _hear(self, child: _Child) -> None:
        try:
            word = child.channel.recv(16)
        except OSError:
            word = b""
        if not word:
            asyncio.get_running_loop().remove_reader(child.channel)
        elif not child.ready:
            child.ready = True
            self._settled.set()
            self._tell("ready", child)

    def _is_hopeless(self, child: _Child, code: int) -> bool:
        if not self._settled.is_set() and code in _SAID_WHY:
            self._give_up(ExitCode(code))
            return True
        if self._early >= self._restarts.deaths * (self._size if self._settled.is_set() else 1):
            self._tell("storm", child, code)
            self._give_up(ExitCode.CRASH_STORM)
            return True
        return False

    def _give_up(self, code: ExitCode) -> None:
        self._worst = code
        self._stop(Level.DRAIN)

    def _ended(self, child: _Child, code: int) -> None:
        self._tell("ended", child, code)
        if self._worst is ExitCode.DONE and code:
            self._worst = ExitCode.HARD if code in (ExitCode.HARD, -signal.SIGKILL) else ExitCode.FAILED

    def _stop(self, level: Level) -> None:
        if not self._level:
            asyncio.get_running_loop().call_later(self._grace + CLEAN_UP + 2 * MARGIN, self._kill_all)
        self._level = level
        self._over.set()
        self._settled.set()
        for child in self._children.values():
            child.tell(level)
        if level is Level.LEAVE:
            self._kill_all()

    def _kill_all(self) -> None:
        for child in self._children.values():
            child.kill()

    def _tell(self, kind: str, child: _Child, code: int = 0, pause: float = 0.0) -> None:
        self._report(Change(kind=kind, number=child.number, pid=child.process.pid, code=code, pause=pause))


def _environment(added: Mapping[str, str]) -> dict[str, str]:
    """This process's environment; a brokerkit that was found through the current directory only is found again."""
    environment = {**os.environ, **added}
    root = str(Path(brokerkit.__file__).parent.parent)
    if root not in sys.path:
        paths = [path for path in (environment.get("PYTHONPATH"), root) if path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
