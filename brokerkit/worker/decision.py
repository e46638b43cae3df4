"""From what a handler did to what becomes of its message: one pure function."""

from __future__ import annotations

import enum
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import msgspec

from brokerkit.errors import DecodeError, GiveUp, RetryLater
from brokerkit.handlers.handler import Handler
from brokerkit.message import Message
from brokerkit.outcome import ACK, RELEASE, DeadLetter, Outcome, Reason, Redeliver
from brokerkit.records import ErrorInfo, TaskStatus
from brokerkit.retry import delay_before, retries
from brokerkit.topology import Retry
from brokerkit.wire import bounded, encodable

_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
MAX_ERROR_TEXT = 2_000
MAX_TRACEBACK_TEXT = 8_000
NOT_NOW = 0.1
"""Seconds: the least that a return which is not counted waits."""


class Stop(enum.Enum):
    """Why the worker ended an attempt before the handler did."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one attempt.

    Args:
        outcome: For the broker.
        status: For the record; None when the record stays as it is.
        error: Why it did not succeed.
        result: The encoded return value of a success.
    """

    outcome: Outcome
    status: TaskStatus | None
    error: ErrorInfo | None = None
    result: bytes | None = None


class FollowUpFailed(Exception):
    """A follow-up was not accepted; the attempt counts as failed."""


class TimedOut(TimeoutError):
    """The attempt exceeded its timeout."""


RELEASED = Decision(RELEASE, None)
CANCELLED = Decision(ACK, TaskStatus.CANCELLED, ErrorInfo("TaskCancelled", "cancelled before it had finished"))


def succeeded(result: bytes | None) -> Decision:
    """The handler returned."""
    return Decision(ACK, TaskStatus.SUCCESS, None, result)


def expired() -> Decision:
    """The message was too old to start."""
    error = ErrorInfo("TaskExpired", "not started before it expired")
    return Decision(DeadLetter(Reason.EXPIRED, error.message), TaskStatus.EXPIRED, error)


def refused(reason: Reason, text: str) -> Decision:
    """The message cannot be run, however often it is tried."""
    error = ErrorInfo(reason.value, bounded(text, MAX_ERROR_TEXT))
    return Decision(DeadLetter(reason, error.message), TaskStatus.FAILURE, error)


def unreturnable(error: Exception) -> Decision:
    """The handler's work is done but its value cannot be kept or sent; running it again would not help."""
    return _dead(Reason.FAILED, describe(error))


def failed(handler: Handler, message: Message, error: BaseException, jitter: Callable[[], float]) -> Decision:
    """The attempt did not succeed: retry it, or dead-letter it.

    Args:
        handler: Whose policy counts.
        message: The message, with its attempt number.
        error: What was raised; ``TimedOut`` and ``FollowUpFailed`` are the worker's own.
        jitter: Gives a number in [0, 1).
    """
    if isinstance(error, RetryLater):
        return _again_later(handler, message, error)
    if isinstance(error, GiveUp):
        return _dead(Reason.GAVE_UP, describe(error))
    if isinstance(error, DecodeError):
        return _dead(Reason.DECODE_ERROR, describe(error))
    policy = _policy(handler, message)
    info = describe(error)
    if retries(policy, type(error)):
        if message.attempt <= policy.max_retries:
            delay = delay_before(policy, message.attempt, jitter)
            return Decision(Redeliver(delay, message.attempt + 1, message.postponed), TaskStatus.RETRY, info)
        info = msgspec.structs.replace(info, exhausted=True)
    return _dead(_reason(error), info)


def _again_later(handler: Handler, message: Message, error: RetryLater) -> Decision:
    info = describe(error)
    if not error.counted:
        again = Redeliver(max(error.after, NOT_NOW), message.attempt, message.postponed + 1)
        return Decision(again, TaskStatus.RETRY, info)
    if message.attempt < max(handler.max_deliveries, _policy(handler, message).max_retries + 1):
        return Decision(Redeliver(error.after, message.attempt + 1, message.postponed), TaskStatus.RETRY, info)
    return _dead(Reason.TOO_MANY_DELIVERIES, msgspec.structs.replace(info, exhausted=True))


def _policy(handler: Handler, message: Message) -> Retry:
    try:
        return handler.policy_for(message)
    except (msgspec.MsgspecError, ValueError):
        return handler.retry  # what the sender wrote is no policy


def _reason(error: BaseException) -> Reason:
    if isinstance(error, TimedOut):
        return Reason.TIMED_OUT
    return Reason.FOLLOW_UP_FAILED if isinstance(error, FollowUpFailed) else Reason.FAILED


def _dead(reason: Reason, info: ErrorInfo) -> Decision:
    text = f"{info.type}: {info.message}" if info.message else info.type
    return Decision(DeadLetter(reason, bounded(text, MAX_ERROR_TEXT)), TaskStatus.FAILURE, info)


def describe(error: BaseException) -> ErrorInfo:
    """An exception as bounded text. Locals are never captured."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    # A traceback of our own control flow says nothing that the text does not.
    quiet = isinstance(error, RetryLater | GiveUp | DecodeError | TimedOut | FollowUpFailed)
    trace = "" if quiet else encodable(_traceback(error))
    return ErrorInfo(
        bounded(encodable(name), MAX_ERROR_TEXT),
        bounded(encodable(_text(error)), MAX_ERROR_TEXT),
        trace if len(trace) <= MAX_TRACEBACK_TEXT else "...\n" + trace[-MAX_TRACEBACK_TEXT:],
        timed_out=isinstance(error, TimedOut),
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__ may raise anything; the failure is recorded anyway
        return f"<its text cannot be made: {type(broken).__name__}>"


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, _own_frames(error), limit=-20))
    except BaseException as broken:  # noqa: BLE001 - as above
        return f"<its traceback cannot be made: {type(broken).__name__}>"


def _own_frames(error: BaseException) -> TracebackType | None:
    """Its traceback from the first frame that is not ours: how a worker calls handlers tells nobody anything."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.tb_next
    return frame or error.__traceback__
