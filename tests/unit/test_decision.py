"""From what a handler did to what becomes of its message."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.errors import DecodeError, GiveUp, RetryLater
from brokerkit.handlers.handler import Handler
from brokerkit.message import Message
from brokerkit.outcome import DeadLetter, Outcome, Reason, Redeliver
from brokerkit.records import TaskStatus
from brokerkit.topology import Retry
from brokerkit.worker.decision import (
    MAX_ERROR_TEXT,
    MAX_TRACEBACK_TEXT,
    FollowUpFailed,
    TimedOut,
    describe,
    expired,
    failed,
    refused,
)

THREE = Retry.fixed(max_retries=3, delay=2)


async def receive(_: Any) -> None: ...


def handler(retry: Retry = THREE, max_deliveries: int = 5) -> Handler:
    return Handler(
        name="work",
        decode=lambda body, kind: {},
        receive=receive,
        is_async=True,
        retry=retry,
        timeout=None,
        max_deliveries=max_deliveries,
        record="outcome",
    )


def message(attempt: int = 1, postponed: int = 0, retry: str = "") -> Message:
    return Message(id="m", name="work", body=b"", attempt=attempt, postponed=postponed, retry=retry)


def dead(reason: Reason) -> DeadLetter:
    return DeadLetter(reason)


@pytest.mark.parametrize(
    ("error", "attempt", "retry", "outcome", "exhausted"),
    [
        (ValueError("no"), 1, THREE, Redeliver(2, 2, 1), False),
        (ValueError("no"), 3, THREE, Redeliver(2, 4, 1), False),
        (ValueError("no"), 4, THREE, dead(Reason.FAILED), True),
        (ValueError("no"), 1, Retry.none(), dead(Reason.FAILED), False),
        (ValueError("no"), 1, Retry.fixed(retry_on=(OSError,)), dead(Reason.FAILED), False),
        (TimedOut("slow"), 1, THREE, Redeliver(2, 2, 1), False),
        (TimedOut("slow"), 4, THREE, dead(Reason.TIMED_OUT), True),
        (FollowUpFailed("full"), 4, THREE, dead(Reason.FOLLOW_UP_FAILED), True),
        (SystemExit(1), 1, THREE, Redeliver(2, 2, 1), False),
        (DecodeError("bad"), 1, THREE, dead(Reason.DECODE_ERROR), False),
        (GiveUp("why"), 1, THREE, dead(Reason.GAVE_UP), False),
        (RetryLater(7), 1, Retry.none(), Redeliver(7, 2, 1), False),
        (RetryLater(7), 4, Retry.none(), Redeliver(7, 5, 1), False),
        (RetryLater(7), 5, Retry.none(), dead(Reason.TOO_MANY_DELIVERIES), True),
        (RetryLater(7), 9, Retry.fixed(max_retries=9), Redeliver(7, 10, 1), False),
        (RetryLater(7, counted=False), 1, Retry.none(), Redeliver(7, 1, 2), False),
        (RetryLater(7, counted=False), 99, Retry.none(), Redeliver(7, 99, 2), False),
        (RetryLater(0, counted=False), 99, Retry.none(), Redeliver(0.1, 99, 2), False),
    ],
)
def test_what_becomes_of_a_failed_attempt(
    error: BaseException, attempt: int, retry: Retry, outcome: Outcome, exhausted: bool
) -> None:
    decision = failed(handler(retry), message(attempt, postponed=1), error, lambda: 0.0)
    if isinstance(outcome, DeadLetter):
        assert isinstance(decision.outcome, DeadLetter)
        assert decision.outcome.reason is outcome.reason
        assert decision.status is TaskStatus.FAILURE
    else:
        assert decision.outcome == outcome
        assert decision.status is TaskStatus.RETRY
    assert decision.error is not None
    assert decision.error.exhausted is exhausted


def test_every_return_raises_the_fence() -> None:
    for error in (ValueError(), RetryLater(1), RetryLater(1, counted=False)):
        outcome = failed(handler(), message(2, 3), error, lambda: 0.0).outcome
        assert isinstance(outcome, Redeliver)
        assert outcome.attempt + outcome.postponed == 6


def test_the_messages_own_policy_counts_before_the_handlers() -> None:
    own = '{"kind":"fixed","max_retries":1,"initial":9}'
    assert failed(handler(), message(retry=own), ValueError(), lambda: 0.0).outcome == Redeliver(9, 2)
    assert isinstance(failed(handler(), message(2, retry=own), ValueError(), lambda: 0.0).outcome, DeadLetter)


@pytest.mark.parametrize("text", ["not JSON", "{}x", '{"kind":"sometimes"}', '{"max_retries":-1}', "[]"])
def test_a_policy_nobody_can_read_leaves_the_handlers(text: str) -> None:
    assert failed(handler(), message(retry=text), ValueError(), lambda: 0.0).outcome == Redeliver(2, 2)
    assert isinstance(failed(handler(), message(retry=text), RetryLater(1), lambda: 0.0).outcome, Redeliver)


def test_errors_are_bounded_text() -> None:
    info = describe(ValueError("x" * 1_000_000))
    assert len(info.message) == MAX_ERROR_TEXT
    assert info.message.endswith(" ...")
    assert len(info.traceback) <= MAX_TRACEBACK_TEXT + 4


def test_lone_surrogates_can_be_encoded_afterwards() -> None:
    kind = type("Odd", (Exception,), {})
    kind.__qualname__ = "Odd\ud800"
    info = describe(kind("text \udfff"))
    (info.type + info.message + info.traceback).encode()


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_text_that_cannot_be_made_is_said_to_be_so(raised: type[BaseException]) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise raised

    assert describe(Broken()).message == f"<its text cannot be made: {raised.__name__}>"


def test_notes_that_cannot_be_read_do_no_harm() -> None:
    class Noted(Exception):
        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]
            raise RuntimeError("no notes")

    assert describe(Noted("text")).message == "text"


def test_control_flow_has_no_traceback() -> None:
    assert not describe(GiveUp("why")).traceback
    assert not describe(RetryLater(1)).traceback


def test_what_is_not_run_is_dead_lettered_with_its_reason() -> None:
    decision = refused(Reason.UNKNOWN_TASK, "x" * 10_000)
    assert isinstance(decision.outcome, DeadLetter)
    assert decision.outcome.reason is Reason.UNKNOWN_TASK
    assert len(decision.outcome.error) <= MAX_ERROR_TEXT
    assert expired().status is TaskStatus.EXPIRED
