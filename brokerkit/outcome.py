"""What becomes of a delivery: four outcomes, as values."""

from __future__ import annotations

import enum

import msgspec


class Reason(enum.StrEnum):
    """Why a message lies in a dead-letter queue."""

    FAILED = "failed"
    """The handler raised and no retry was left, or the policy does not retry this exception."""
    GAVE_UP = "gave_up"
    """The handler raised ``GiveUp``."""
    TIMED_OUT = "timed_out"
    """The last attempt exceeded its timeout."""
    EXPIRED = "expired"
    """It was not started before it expired."""
    CRASH_LOOP = "crash_loop"
    """It was being run alone each time its worker died, ``max_deliveries`` times."""
    TOO_MANY_DELIVERIES = "too_many_deliveries"
    """``RetryLater`` came again in the last attempt that ``max_deliveries`` and the retry policy allow."""
    DECODE_ERROR = "decode_error"
    """The body cannot be read, is too large or too deep, or does not fit the handler's annotations."""
    UNKNOWN_TASK = "unknown_task"
    """No task or subscriber of this worker takes a message of this name."""
    FOLLOW_UP_FAILED = "follow_up_failed"
    """A follow-up of the handler could not be published."""
    FOREIGN = "foreign"
    """Somebody else put it there, and does not say why. No outcome of ours."""

    @classmethod
    def named(cls, text: str) -> Reason:
        """The reason of that name; FAILED for one of a later version."""
        try:
            return cls(text)
        except ValueError:
            return cls.FAILED


class Ack(msgspec.Struct, frozen=True):
    """Done: the broker forgets the message."""


class Redeliver(msgspec.Struct, frozen=True):
    """Run it again: the next attempt enters the same queue.

    Args:
        after: Seconds until it may be delivered; 0 is at once.
        attempt: The attempt number the message carries from then on.
        postponed: The number of uncounted returns it carries from then on. One of the two is higher than
            before, so that the fence (run, attempt + postponed, deliveries) always rises.
    """

    after: float
    attempt: int
    postponed: int = 0


class DeadLetter(msgspec.Struct, frozen=True):
    """Move it to its queue's dead-letter queue.

    Args:
        reason: Why.
        error: The last error's text, bounded.
    """

    reason: Reason
    error: str = ""


class Release(msgspec.Struct, frozen=True):
    """Hand it back as if it had not been delivered: not counted as an attempt or a start."""


Outcome = Ack | Redeliver | DeadLetter | Release

ACK = Ack()
RELEASE = Release()
