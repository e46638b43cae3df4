"""What an app does with dead letters."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from brokerkit.abilities import DeadEntry, DeadLetters, DeadMessage, Redriven, SentBack, dead_letters_of
from brokerkit.client.asking import Asking
from brokerkit.client.inbox import ReplyInbox
from brokerkit.client.progress import Progress
from brokerkit.clock import Clock
from brokerkit.deadletters.canary import Canary
from brokerkit.deadletters.grouping import DeadLetterGroups, Grouping
from brokerkit.deadletters.pacing import Pace
from brokerkit.deadletters.selecting import AT_ONCE, DeadLetterFilter, Look, looking
from brokerkit.errors import CountMismatch, MissingCapability, QueueFull
from brokerkit.insisting import unbroken
from brokerkit.topology import Queue
from brokerkit.transport import Transport

_log = logging.getLogger("brokerkit")


class DeadLetterDesk:
    """Handles dead letters.

    Args:
        transport: The broker.
        asking: Keeps the records of what is sent back.
        inbox: Knows who waits for what is sent back.
        clock: Supplies the time.
    """

    def __init__(self, transport: Transport, asking: Asking, inbox: ReplyInbox, clock: Clock) -> None:
        self._transport = transport
        self._asking = asking
        self._inbox = inbox
        self._clock = clock

    async def letters(self, queue: str | Queue, wanted: DeadLetterFilter) -> list[DeadMessage]:
        """The oldest; see ``App.dead_letters``."""
        found: list[DeadMessage] = []
        async with self._looking(queue, wanted) as look:
            while part := await look.next():
                found += [entry.dead for entry in part]
        return sorted(found, key=lambda dead: dead.died)

    async def groups(self, queue: str | Queue, wanted: DeadLetterFilter) -> DeadLetterGroups:
        """By what failed; see ``App.dead_letter_groups``."""
        grouping = Grouping()
        async with self._looking(queue, wanted) as look:
            while part := await look.next():
                for entry in part:
                    grouping.add(entry.dead)
            return grouping.result(complete=look.complete)

    async def redrive(
        self,
        queue: str | Queue,
        wanted: DeadLetterFilter,
        *,
        canary: float | None = None,
        rate: float | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Send back; see ``App.redrive``."""
        source, pace = _name(queue), Pace(rate, self._clock)
        counted = _Counted(await self._total(source, wanted) if progress is not None else 0, progress)
        async with self._looking(queue, wanted) as look:
            if canary is not None and (first := await look.next(1)):
                sent = await self._send_back(source, look, first, counted)
                bird = Canary(self._transport, self._able(), self._asking, self._clock)
                for each in sent:
                    await bird.sing(source, each, canary)
                pace.begin()
            before = counted.done
            while part := await look.next(pace.at_once):
                await self._send_back(source, look, part, counted)
                await pace.wait(counted.done - before)
            self._tell_incomplete(source, look)
        return counted.done

    async def _send_back(
        self, source: str, look: Look, entries: Sequence[DeadEntry], counted: _Counted
    ) -> list[SentBack]:
        """Send these back as one step as far as this process is concerned: interrupted, it ends after it."""

        async def step() -> tuple[Sequence[Redriven], list[SentBack]]:
            answers = await look.redrive(entries)
            sent = [
                SentBack(dead.message.id, dead.message.run + 1)
                for (dead, _), answer in zip(entries, answers, strict=True)
                if answer is Redriven.DONE
            ]
            for each in sent:
                self._inbox.rerun(each.id, each.run)
            counted.add(len(sent), look.skipped + answers.count(Redriven.GONE))
            await self._asking.sent_back(sent)
            return answers, sent

        answers, sent = await unbroken(step())
        if Redriven.REFUSED in answers:
            raise QueueFull(
                f"{source} takes no more: {counted.done} were sent back, the others are still dead letters; "
                "send them back when there is room"
            )
        return sent

    async def purge(self, queue: str | Queue, wanted: DeadLetterFilter, expect: int | None = None) -> int:
        """Delete; see ``App.purge``."""
        source, done = _name(queue), 0
        async with self._looking(queue, wanted) as look:
            if expect is None:
                while part := await look.next():
                    done += await unbroken(look.purge([entry.token for entry in part]))
                self._tell_incomplete(source, look)
                return done
            tokens = await _tokens(look)
            if len(tokens) != expect or not look.complete:
                at_least = "" if look.complete else "at least "
                raise CountMismatch(
                    f"{at_least}{len(tokens)} dead letters of {source} are meant, not {expect}; nothing was deleted: "
                    "look again, and give their number, or a limit",
                    found=len(tokens),
                )
            for start in range(0, len(tokens), AT_ONCE):
                done += await unbroken(look.purge(tokens[start : start + AT_ONCE]))
        return done

    async def _total(self, source: str, wanted: DeadLetterFilter) -> int:
        """How many there may be to send back; those that are skipped are taken off as they are seen."""
        dead = (await self._transport.stats(source)).dead or 0
        return dead if wanted.limit is None else min(dead, wanted.limit)

    def _tell_incomplete(self, source: str, look: Look) -> None:
        if not look.complete:
            _log.warning("not all dead letters of %s were looked at: the broker lets us hold no more; repeat", source)

    @asynccontextmanager
    async def _looking(self, queue: str | Queue, wanted: DeadLetterFilter) -> AsyncIterator[Look]:
        async with looking(self._able(), _name(queue), wanted, self._clock.now()) as look:
            yield look

    def _able(self) -> DeadLetters:
        able = dead_letters_of(self._transport)
        if able is None:
            raise MissingCapability(f"{self._transport.capabilities.name} cannot look into dead-letter queues")
        return able


class _Counted:
    """What has been sent back so far, and who wants to know."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self.done = 0

    def add(self, sent: int, left_out: int) -> None:
        self.done += sent
        if self._progress is not None and sent:
            self._progress(self.done, max(self.done, self._total - left_out))


async def _tokens(look: Look) -> list[Any]:
    found: list[Any] = []
    while part := await look.next():
        found += [entry.token for entry in part]
    return found


def _name(queue: str | Queue) -> str:
    return queue if isinstance(queue, str) else queue.name
