"""Who waits for what: any number of tasks behind one wake-up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from brokerkit.records import TaskRecord
from brokerkit.replies import Reply, reply_from


class Waiter:
    """What is known here of one task's outcome. Its handle keeps it alive.

    Args:
        task_id: The task's id.
        expected: A reply comes to this process.
        kept: Its record is kept, if there is a store.

    Attributes:
        reply: The outcome, once it is known.
        run: The run that is waited for; the outcome of an earlier one does not count.
    """

    __slots__ = ("__weakref__", "_sets", "expected", "id", "kept", "reply", "run")

    def __init__(self, task_id: str, *, expected: bool = False, kept: bool = True) -> None:
        self.id = task_id
        self.expected = expected
        self.kept = kept
        self.reply: Reply | None = None
        self.run = 1
        self._sets: tuple[WaitSet, ...] = ()  # most are waited for by nobody, or by one

    def join(self, waits: WaitSet) -> None:
        """Tell these of what becomes known."""
        self._sets += (waits,)

    def leave(self, waits: WaitSet) -> None:
        """Tell them no longer."""
        self._sets = tuple(each for each in self._sets if each is not waits)

    def resolve(self, reply: Reply) -> None:
        """Take an outcome; that of a later run replaces an earlier one."""
        if reply.run >= self.run:
            self.run, self.reply = reply.run, reply
            for waits in self._sets:
                waits.ended(self)

    def rerun(self, run: int) -> None:
        """It was sent back: wait for the outcome of this run."""
        if run > self.run:
            self.run, self.reply = run, None

    def see(self, record: TaskRecord | None) -> None:
        """Take what the store says; nothing of a task without a reply means that nobody knows it."""
        if record is None:
            if not self.expected:
                for waits in self._sets:
                    waits.ended(self)
            return
        self.rerun(record.run)
        for waits in self._sets:
            waits.saw(record)
        if record.status.terminal:
            self.resolve(reply_from(record))


class WaitSet:
    """Tasks that one coroutine waits for together.

    Args:
        waiters: The tasks, each once.

    Attributes:
        pending: Those that have not ended, by id.
        closed: Nobody waits any more.
        turn: Which plan to look for them counts; ``Looker`` keeps this and what follows.
        pause: Seconds between the last two rounds of looks.
        unseen: Who is still to be looked up in this round, the next one last.
        last: The time is up after this round.
    """

    __slots__ = ("_ended", "_failure", "_over", "_woken", "closed", "last", "pause", "pending", "turn", "unseen")

    def __init__(self, waiters: Iterable[Waiter]) -> None:
        self.pending: dict[str, Waiter] = {}
        self.closed = False
        self.turn = 0
        self.pause = 0.0
        self.unseen: list[Waiter] = []
        self.last = False
        self._ended: list[Waiter] = []
        self._over = False
        self._failure: Exception | None = None
        self._woken: asyncio.Future[None] | None = None
        for waiter in waiters:
            if waiter.reply is not None:
                self._ended.append(waiter)
            else:
                self.pending[waiter.id] = waiter
                waiter.join(self)

    async def next(self) -> list[Waiter]:
        """Wait for one or more to end: those with an outcome have it in ``reply``, the others are unknown.

        Returns:
            Who has ended since the last call, in that order; nobody when all have, or when the time is up.
        """
        while not self._ended and self.pending and not self._over:
            await self.woken()
        ended, self._ended = self._ended, []
        return ended

    async def woken(self) -> None:
        """Wait until something has changed."""
        if self._failure is None:
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
        if self._failure is not None:
            raise self._failure

    def ended(self, waiter: Waiter) -> None:
        """One of them has ended."""
        if self.pending.pop(waiter.id, None) is not None:
            waiter.leave(self)
            self._ended.append(waiter)
            self.wake()

    def saw(self, record: TaskRecord) -> None:
        """The store has been looked into for one of them."""

    def finish(self) -> None:
        """The time is up."""
        self._over = True
        self.wake()

    def fail(self, error: Exception) -> None:
        """Nothing can come any more."""
        self._failure = error
        self.wake()

    def wake(self) -> None:
        """Let who waits look again."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def close(self) -> None:
        """Nobody waits any more. Keeps nobody alive, though it may be planned for a while."""
        self.closed = True
        for waiter in self.pending.values():
            waiter.leave(self)
        self.pending, self.unseen, self._ended = {}, [], []


class Watch(WaitSet):
    """One task whose record is watched while it changes."""

    __slots__ = ("_record", "_shown")

    def __init__(self, waiter: Waiter) -> None:
        super().__init__([waiter])
        self._record: TaskRecord | None = None
        self._shown: TaskRecord | None = None

    async def change(self) -> TaskRecord | None:
        """Wait for another record than the last; None when the task has ended otherwise, or the time is up."""
        while self._record == self._shown and not self._ended and not self._over:
            await self.woken()
        if self._record == self._shown:
            return None
        self._shown = self._record
        return self._shown

    def saw(self, record: TaskRecord) -> None:
        """Show it, and look again soon: what has changed may go on to change."""
        if record != self._record:
            self._record, self.pause = record, 0.0
            self.wake()
