"""What a worker's log says of attempts that fail, and what their exceptions carry."""

from __future__ import annotations

import logging

import pytest

from brokerkit import App, GiveUp, Retry, RetryLater, TaskFailed
from brokerkit.testing import VirtualClock
from brokerkit.transports.memory import MemoryBroker, MemoryTransport


async def logged(caplog: pytest.LogCaptureFixture, *errors: BaseException) -> list[logging.LogRecord]:
    """The worker's log of one task, whose attempts raise these."""
    clock = VirtualClock()
    app = App(MemoryTransport(MemoryBroker(clock)), clock=clock)
    left = list(errors)

    @app.task(retry=Retry.fixed(max_retries=1, delay=2.0))
    async def charge() -> None:
        if left:
            raise left.pop(0)

    caplog.set_level(logging.INFO, "brokerkit.worker")
    async with app, app.worker():
        handle = await charge.send()
        await clock.advance(5.0)
        try:
            await handle.result()
        except TaskFailed:
            pass
    return [record for record in caplog.records if record.name == "brokerkit.worker"]


async def test_an_attempt_that_is_tried_again_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = await logged(caplog, ConnectionError("the bank is closed"))
    assert line.levelno == logging.INFO
    assert "attempt 1 failed, again in 2.0 s: ConnectionError: the bank is closed" in line.getMessage()
    assert line.exc_info is not None
    assert line.exc_info[0] is ConnectionError


async def test_the_last_attempt_is_an_error_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    _, last, dead = await logged(caplog, ValueError("one"), ValueError("two"))
    assert (last.levelno, dead.levelno) == (logging.ERROR, logging.WARNING)
    assert "attempt 2 failed, and is not tried again" in last.getMessage()
    assert last.exc_info is not None
    assert str(last.exc_info[1]) == "two"
    assert "is dead-lettered: failed, ValueError: two" in dead.getMessage()


async def test_what_a_failure_says_can_be_written_and_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    await logged(caplog, ValueError("x" * 100_000), ValueError("\ud800"))
    assert caplog.text.encode()
    assert len(caplog.text) < 40_000


async def test_what_a_handler_asks_for_has_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    postponed, dead = await logged(caplog, RetryLater(1.0, counted=False), GiveUp("the card is stolen"))
    assert "attempt 1 is postponed, again in 1.0 s" in postponed.getMessage()
    assert "is dead-lettered: gave_up" in dead.getMessage()
    assert not postponed.exc_info
    assert not dead.exc_info
