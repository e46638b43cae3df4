"""Fault injection: a transport and a store that fail, stall, answer or die where a test says.

::

    faults = Faults(clock)
    transport = faulty_transport(MemoryTransport(broker), faults, die=…)
    faults.crash("put", after=True)                      # the process ends when its first report is stored
    faults.answer("settle", Settled.FAILED, times=3)     # three outcomes are not carried out
    stall = faults.stall("put", ids={"a"})               # reports of task a wait for stall.release()

The names of calls are those of the contracts: ``publish``, ``commit``, ``receive``, ``settle``, ``mark_start``,
``pause``, ``put``, ``patch``, ``get``; ``reply`` is a publish that carries replies only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any, TypeVar

from brokerkit.clock import Clock

T = TypeVar("T")


class Crashed(Exception):
    """The simulated process is dead: everything it still tries raises this."""


class Fault:
    """One thing that goes wrong.

    Args:
        calls: At which calls.
        after: After the call has had its effect, rather than before.
        ids: Only for calls about one of these ids; None for all.
        skip: How many such calls go well first.
        times: How often it goes wrong then; None for ever.
    """

    def __init__(
        self, calls: tuple[str, ...], after: bool, ids: Container[str] | None, skip: int, times: int | None
    ) -> None:
        self._calls = calls
        self._after = after
        self._ids = ids
        self._skip = skip
        self._left = times
        self.reached = asyncio.Event()
        """Set once it has happened."""
        self._released = asyncio.Event()

    def release(self) -> None:
        """It happens no more, and what it stalls goes on."""
        self._left = 0
        self._released.set()

    def strikes(self, call: str, after: bool, ids: Sequence[str]) -> bool:
        """True when it happens here and now."""
        if self._left == 0 or call not in self._calls or after is not self._after:
            return False
        if self._ids is not None and not any(each in self._ids for each in ids):
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        self.reached.set()
        return True

    async def happen(self, faults: Faults) -> None:
        """Do harm."""


class _Crash(Fault):
    async def happen(self, faults: Faults) -> None:
        await faults.end_process()


class _Failure(Fault):
    error: BaseException

    async def happen(self, faults: Faults) -> None:
        raise self.error


class _Stall(Fault):
    seconds: float | None

    async def happen(self, faults: Faults) -> None:
        timer = faults.clock.call_later(self.seconds, self._released.set) if self.seconds is not None else None
        try:
            await self._released.wait()
        finally:
            if timer is not None:
                timer.cancel()


class _Answer(Fault):
    verdict: Any


class Faults:
    """What goes wrong in one simulated process.

    Args:
        clock: What stalls are measured with.
        die: Ends the process at its broker: what it holds comes again. Set by ``faulty_transport``.

    Attributes:
        crashed: The process is dead.
        journal: Every call so far: its name and the ids it was about.
    """

    def __init__(self, clock: Clock, die: Callable[[], Awaitable[None]] | None = None) -> None:
        self.clock = clock
        self.die = die
        self.crashed = False
        self.journal: list[tuple[str, tuple[str, ...]]] = []
        self._faults: list[Fault] = []

    def crash(self, *calls: str, after: bool = False, ids: Container[str] | None = None, skip: int = 0) -> Fault:
        """The process dies at one of these calls."""
        return self._add(_Crash(calls, after, ids, skip, 1))

    def fail(
        self,
        *calls: str,
        error: BaseException,
        after: bool = False,
        ids: Container[str] | None = None,
        times: int | None = 1,
    ) -> Fault:
        """The calls raise; with ``after`` they raise although they had their effect."""
        failure = _Failure(calls, after, ids, 0, times)
        failure.error = error
        return self._add(failure)

    def stall(
        self,
        *calls: str,
        seconds: float | None = None,
        after: bool = False,
        ids: Container[str] | None = None,
        times: int | None = None,
    ) -> Fault:
        """The calls wait so many seconds of the clock, or until the fault is released."""
        stall = _Stall(calls, after, ids, 0, times)
        stall.seconds = seconds
        return self._add(stall)

    def answer(
        self, *calls: str, verdict: Any, ids: Container[str] | None = None, skip: int = 0, times: int | None = 1
    ) -> Fault:
        """Items are answered so, without any effect; ``times`` counts items."""
        answer = _Answer(calls, False, ids, skip, times)
        answer.verdict = verdict
        return self._add(answer)

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    async def end_process(self) -> None:
        """Die here and now."""
        if not self.crashed:
            self.crashed = True
            if self.die is not None:
                await self.die()
        raise Crashed("this process is dead")

    def check(self) -> None:
        """Raise if the process is dead."""
        if self.crashed:
            raise Crashed("this process is dead")

    async def strike(self, call: str, ids: Sequence[str], *, after: bool) -> None:
        """Let happen what is due at this edge of a call."""
        self.check()
        for fault in tuple(self._faults):
            if not isinstance(fault, _Answer) and fault.strikes(call, after, ids):
                await fault.happen(self)
        self.check()

    async def around(
        self,
        call: str,
        items: Sequence[T],
        id_of: Callable[[T], str],
        do: Callable[[list[T]], Awaitable[Sequence[Any]]],
    ) -> list[Any]:
        """Make a batch call, with whatever is due before it, instead of it for some items, and after it."""
        ids = [id_of(item) for item in items]
        self.journal.append((call, tuple(ids)))
        await self.strike(call, ids, after=False)
        verdicts = [self._verdict(call, each) for each in ids]
        spared = [item for item, verdict in zip(items, verdicts, strict=True) if verdict is None]
        answers = iter(await do(spared) if spared else ())
        await self.strike(call, ids, after=True)
        return [next(answers) if verdict is None else verdict for verdict in verdicts]

    def _verdict(self, call: str, item_id: str) -> Any:
        for fault in self._faults:
            if isinstance(fault, _Answer) and fault.strikes(call, False, (item_id,)):
                return fault.verdict
        return None
