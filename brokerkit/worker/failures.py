"""Log lines for attempts that fail."""

from __future__ import annotations

import logging

from brokerkit.message import Message
from brokerkit.outcome import Redeliver
from brokerkit.records import ErrorInfo
from brokerkit.worker.decision import Decision
from brokerkit.worker.finished import describe

_log = logging.getLogger("brokerkit.worker")


def log_failure(message: Message, decision: Decision, error: BaseException) -> None:
    """Say with what an attempt failed, and what comes next: at INFO when it is tried again, at ERROR when it is not.

    A dead letter is told of when it is committed; of what no code has raised, such as a timeout, that says everything.

    Args:
        message: The message.
        decision: What becomes of it.
        error: What was raised.
    """
    info, outcome = decision.error, decision.outcome
    if info is None:
        return
    if isinstance(outcome, Redeliver):
        what = "failed" if outcome.attempt > message.attempt else "is postponed"
        why = f"{info.type}: {info.message}" if info.message else info.type
        text = f"{describe(message)} attempt {message.attempt} {what}, again in {outcome.after:.1f} s: {why}"
        _tell(logging.INFO, text, info, error)
    elif info.traceback:
        text = f"{describe(message)} attempt {message.attempt} failed, and is not tried again"
        _tell(logging.ERROR, text, info, error)


def _tell(level: int, text: str, info: ErrorInfo, error: BaseException) -> None:
    """The line has the traceback as it is kept, bounded and encodable, and the exception for those who collect them."""
    if not _log.isEnabledFor(level):
        return
    raised = (type(error), error, error.__traceback__) if info.traceback else None
    record = _log.makeRecord(_log.name, level, __file__, 0, "%s", (text,), raised)
    record.exc_text = info.traceback.rstrip() or None
    _log.handle(record)
