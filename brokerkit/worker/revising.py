"""Other decisions: what becomes of a finished delivery that cannot be committed as it was."""

from __future__ import annotations

import logging
import random

from brokerkit.outcome import ACK, Reason
from brokerkit.records import TaskStatus
from brokerkit.worker.decision import Decision, FollowUpFailed, failed, refused, unreturnable
from brokerkit.worker.finished import Finished, describe

_log = logging.getLogger("brokerkit.worker")


class ReportTooLarge(Exception):
    """The record is over the store's limit."""

    def __init__(self, result: int, followups: int) -> None:
        left = f" and {followups} follow-ups" if followups else ""
        remedy = "leave fewer, or publish them at once" if followups else "return a reference to it instead"
        super().__init__(f"the store does not take a result of {result} bytes{left}; {remedy}")


def supersede(finished: Finished) -> None:
    """Somebody else has reported this run's end, or runs it now: no report, no reply, no follow-ups."""
    finished.decision = Decision(ACK, None)
    finished.followups = ()


def leave_out_result(finished: Finished) -> None:
    """The store does not take the report: the result, or what else makes it large, cannot be kept."""
    if finished.decision.status is not TaskStatus.SUCCESS:
        # There is no result to leave out: the message goes where it must, and the record stays as it was.
        _log.warning("the store does not take the report of %s", describe(finished.delivery.message))
        finished.replayed = True
        return
    finished.decision = unreturnable(ReportTooLarge(len(finished.decision.result or b""), len(finished.followups)))
    finished.followups = ()


def fail_for_follow_up(finished: Finished, why: str) -> None:
    """A follow-up was not accepted: the attempt has failed."""
    error = FollowUpFailed(f"a follow-up was not accepted: {why}")
    finished.followups = ()
    if finished.handler is None:
        finished.decision = refused(Reason.FOLLOW_UP_FAILED, str(error))
    else:
        finished.decision = failed(finished.handler, finished.delivery.message, error, random.random)
