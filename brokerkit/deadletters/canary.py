"""Sending one back first: whether it succeeds tells whether the rest may follow."""

from __future__ import annotations

from brokerkit.abilities import DeadLetters, SentBack
from brokerkit.client.asking import Asking
from brokerkit.clock import Clock
from brokerkit.deadletters.selecting import DeadLetterFilter, looking
from brokerkit.errors import CanaryFailed
from brokerkit.records import TaskRecord, TaskStatus
from brokerkit.transport import Transport

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two looks: at first, and at most."""


class Canary:
    """Waits for the one that was sent back first, by what can be observed: its record; or, where none is kept, whether
    it lies among the dead letters again, or has left its queue for good.

    Args:
        transport: The broker.
        able: The broker, too.
        asking: Asks the store.
        clock: Supplies the time.
    """

    def __init__(self, transport: Transport, able: DeadLetters, asking: Asking, clock: Clock) -> None:
        self._transport, self._able, self._asking, self._clock = transport, able, asking, clock

    async def sing(self, source: str, sent: SentBack, timeout: float) -> None:
        """Return when it has succeeded.

        Raises:
            CanaryFailed: It has not.
        """
        ends, pause, since = self._clock.monotonic() + timeout, FIRST_PAUSE, self._clock.now()
        while True:
            record = await self._asking.known(sent.id)
            mine = record if record is not None and record.run >= sent.run else None
            if await self._has_succeeded(source, sent, mine, since):
                return
            left = ends - self._clock.monotonic()
            if left <= 0:
                raise _failed(sent, f"is not decided after {timeout:g} s: {await self._stands(source, mine)}")
            await self._clock.sleep(min(pause, left))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _has_succeeded(self, source: str, sent: SentBack, record: TaskRecord | None, since: float) -> bool:
        if record is not None and record.status.terminal:
            if record.status is TaskStatus.SUCCESS:
                return True
            why = "" if record.error is None else f" with {record.error.type}: {record.error.message}"
            raise _failed(sent, f"ended as {record.status.value}{why}")
        if record is not None:
            return False
        gone = await self._has_left(source)  # asked first: what fails meanwhile is found among the dead letters
        if (error := await self._death(source, sent, since)) is not None:
            raise _failed(sent, f"is a dead letter again: {error}")
        return gone

    async def _has_left(self, source: str) -> bool:
        """Whether its queue is empty, if the broker knows."""
        stats = await self._transport.stats(source)
        return stats.ready == stats.in_flight == stats.delayed == 0

    async def _death(self, source: str, sent: SentBack, since: float) -> str | None:
        """The error with which it lies among the dead letters again."""
        async with looking(self._able, source, DeadLetterFilter(ids=(sent.id,)), since) as look:
            while part := await look.next():
                for dead, _ in part:
                    if dead.message.run >= sent.run:
                        return dead.error or dead.reason.value
        return None

    async def _stands(self, source: str, record: TaskRecord | None) -> str:
        if record is not None:
            return f"it is {record.status.value} in attempt {record.attempt}; give it longer, or start a worker"
        stats = await self._transport.stats(source)
        if stats.in_flight is None and not stats.ready:
            return (
                "it has not come back, but without its record this broker does not tell what still runs; "
                "give the app a store of records, or send the rest back without a canary"
            )
        return f"{source} is not empty, and no record is kept of it; give it longer, or start a worker"


def _failed(sent: SentBack, what: str) -> CanaryFailed:
    return CanaryFailed(
        f"the first message that was sent back, {sent.id}, {what}; the others were left where they are", sent.id
    )
