"""What is known of one task, and how two reports of one task become one."""

from __future__ import annotations

import enum

import msgspec

from brokerkit.message import MSGPACK, Scalar

MAX_ATTEMPTS_KEPT = 20
"""Attempts a record remembers, the newest."""


class TaskStatus(enum.StrEnum):
    """Where a task stands."""

    PENDING = "PENDING"
    """Sent, not started."""
    RUNNING = "RUNNING"
    """A worker executes it."""
    RETRY = "RETRY"
    """An attempt failed; the next one waits."""
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def terminal(self) -> bool:
        """True when nothing will change any more in this run."""
        return RANK[self] == TERMINAL


TERMINAL = 2
ASKED = 1
"""The stage of a run whose end was only asked for."""
RANK = {
    TaskStatus.PENDING: 0,
    TaskStatus.RUNNING: 1,
    TaskStatus.RETRY: 1,
    TaskStatus.SUCCESS: TERMINAL,
    TaskStatus.FAILURE: TERMINAL,
    TaskStatus.CANCELLED: TERMINAL,
    TaskStatus.EXPIRED: TERMINAL,
}


class ErrorInfo(msgspec.Struct, frozen=True, gc=False):
    """An exception as text, bounded; never turned back into an object.

    Args:
        type: Qualified name of its class.
        message: Its text.
        traceback: Its traceback, or "".
        exhausted: True when the policy would have retried but no retry was left.
        timed_out: True when the attempt exceeded its timeout.
    """

    type: str
    message: str
    traceback: str = ""
    exhausted: bool = False
    timed_out: bool = False


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One finished, unsuccessful attempt."""

    number: int
    worker: str
    started: float | None
    finished: float
    error: ErrorInfo


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is known of one task. Times are seconds since the epoch.

    Args:
        id: The task's id.
        name: The task's wire name.
        queue: The queue it was sent to.
        status: Where it stands.
        run: 1 for a send, one more for each redrive.
        attempt: The attempt this report is about.
        postponed: Uncounted returns until then.
        deliveries: How often the broker had delivered the message then; with run, attempt and postponed, the fence.
        created: When it was sent.
        started: When its last attempt started.
        finished: When it reached its outcome.
        worker: The worker of the last report.
        result: The encoded return value, None until SUCCESS.
        content_type: How the result is encoded.
        error: The last error.
        attempts: The failed attempts of this run, oldest first, the newest 20.
        progress: 0..1 as the handler reported, or None.
        note: The handler's words to it.
        metadata: Labels: set at send, changed by the handler and by clients.
        labelled: Which labels this report sets anew; the others were set at send, and what is stored of them counts.
        parent: Id of the task whose handler sent this one.
        root: Id of the first task of that family.
        followups: Follow-ups, encoded, that leave again if a crash came between this record and their
            confirmation.
        asked: With CANCELLED: it was only asked for, and whether the task had begun is not known. The report of a
            worker that runs it all the same replaces this record.
    """

    id: str
    name: str
    queue: str
    status: TaskStatus
    run: int = 1
    attempt: int = 1
    postponed: int = 0
    deliveries: int = 0
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    worker: str = ""
    result: bytes | None = None
    content_type: str = MSGPACK
    error: ErrorInfo | None = None
    attempts: tuple[Attempt, ...] = ()
    progress: float | None = None
    note: str = ""
    metadata: dict[str, Scalar] = {}
    labelled: tuple[str, ...] = ()
    parent: str | None = None
    root: str | None = None
    followups: tuple[bytes, ...] = ()
    asked: bool = False

    @property
    def stage(self) -> int:
        """How far a run has come, from 0 to ``TERMINAL``."""
        return ASKED if self.asked else RANK[self.status]

    @property
    def over(self) -> bool:
        """True when the handler has run to its end in this run, though its follow-ups may still have to leave."""
        return self.status.terminal or bool(self.followups)

    @property
    def fence(self) -> tuple[int, int, int]:
        """(run, attempt + postponed, deliveries): rises with every delivery of one run, and with every run."""
        return (self.run, self.attempt + self.postponed, self.deliveries)


def accepts(stored_fence: tuple[int, int, int], stored_stage: int, fence: tuple[int, int, int], stage: int) -> bool:
    """True when a report may replace the stored one.

    A newer run always may. Within a run a terminal status is never overwritten; otherwise a newer fence wins,
    and at the same fence PENDING < RUNNING, RETRY, a cancellation that was asked for < terminal.
    """
    if fence[0] != stored_fence[0]:
        return fence[0] > stored_fence[0]
    if stored_stage == TERMINAL:
        return False
    if fence != stored_fence:
        return fence > stored_fence
    return stage >= stored_stage


def merged(stored: TaskRecord, new: TaskRecord) -> TaskRecord:
    """The record to keep when an accepted report replaces the stored one.

    Labels are united, failed attempts of the same run are kept, and the last progress stays until a new one is
    reported. Of a label that both have the stored value counts, because somebody may have changed it since the send,
    unless the new report has set it anew.
    """
    attempts = new.attempts
    if stored.attempts and stored.run == new.run:
        numbers = {attempt.number for attempt in attempts}
        earlier = tuple(attempt for attempt in stored.attempts if attempt.number not in numbers)
        attempts = (earlier + attempts)[-MAX_ATTEMPTS_KEPT:]
    same_run = stored.run == new.run
    # A RUNNING report that comes late must not make the finished run forget what it has to send.
    leaving = new.status is TaskStatus.RUNNING and bool(stored.followups) and stored.fence == new.fence
    keeps = leaving and not new.followups
    return msgspec.structs.replace(
        new,
        followups=stored.followups if keeps else new.followups,
        result=stored.result if keeps else new.result,
        metadata={**new.metadata, **stored.metadata, **{label: new.metadata[label] for label in new.labelled}},
        attempts=attempts,
        created=stored.created or new.created,
        started=new.started if new.started is not None or not same_run else stored.started,
        progress=new.progress if new.progress is not None or not same_run else stored.progress,
        note=new.note or (stored.note if same_run else ""),
    )


def sent_back(stored: TaskRecord, run: int) -> TaskRecord:
    """The record of a task whose message waits again, as a new run."""
    return TaskRecord(
        id=stored.id,
        name=stored.name,
        queue=stored.queue,
        status=TaskStatus.PENDING,
        run=run,
        created=stored.created,
        metadata=stored.metadata,
        parent=stored.parent,
        root=stored.root,
    )


def cancelled(stored: TaskRecord, run: int, now: float, *, asked: bool = False) -> TaskRecord | None:
    """The record to keep when a message that waited for this run has been removed, or when that was only asked for;
    None if nothing is to be changed."""
    if stored.run < run:
        stored = sent_back(stored, run)
    if stored.run > run or stored.over:
        return None
    return msgspec.structs.replace(stored, status=TaskStatus.CANCELLED, finished=now, asked=asked)


class RecordPatch(msgspec.Struct, frozen=True, kw_only=True):
    """A change to a stored record that is not a new report of its state.

    Args:
        id: Whose record.
        fence: The reporter's fence, or None for a client's patch. A patch with a fence is
            stale once a newer fence or a terminal status is stored; one without is never stale.
        progress: New progress, None leaves it.
        note: New note, None leaves it.
        metadata: Labels to set.
    """

    id: str
    fence: tuple[int, int, int] | None = None
    progress: float | None = None
    note: str | None = None
    metadata: dict[str, Scalar] = {}


def later(earlier: RecordPatch, patch: RecordPatch) -> RecordPatch:
    """Two patches of one record as one."""
    return msgspec.structs.replace(
        patch,
        progress=earlier.progress if patch.progress is None else patch.progress,
        note=earlier.note if patch.note is None else patch.note,
        metadata={**earlier.metadata, **patch.metadata},
    )


def patched(record: TaskRecord, patch: RecordPatch) -> TaskRecord:
    """The record with the patch applied."""
    return msgspec.structs.replace(
        record,
        progress=record.progress if patch.progress is None else patch.progress,
        note=record.note if patch.note is None else patch.note,
        metadata={**record.metadata, **patch.metadata},
    )


def patchable(record: TaskRecord, patch: RecordPatch) -> bool:
    """True when the patch is not stale."""
    if patch.fence is None:
        return True
    return record.stage < TERMINAL and patch.fence >= record.fence
