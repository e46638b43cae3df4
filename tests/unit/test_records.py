"""Two reports of one task become one: the fence decides, and an end is an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerkit.records import (
    ASKED,
    MAX_ATTEMPTS_KEPT,
    RANK,
    TERMINAL,
    Attempt,
    ErrorInfo,
    RecordPatch,
    TaskRecord,
    TaskStatus,
    accepts,
    merged,
    patchable,
    patched,
)

small = st.integers(1, 3)


def report(status: TaskStatus, run: int, attempt: int, deliveries: int, label: int = 0) -> TaskRecord:
    failed = (Attempt(attempt, "w", None, 1.0, ErrorInfo("E", "no")),) if status is TaskStatus.RETRY else ()
    return TaskRecord(
        id="t", name="n", queue="q", status=status, run=run, attempt=attempt, deliveries=deliveries,
        created=1.0, attempts=failed, metadata={str(label): label},
    )  # fmt: skip


class Reports(RuleBasedStateMachine):
    """A store of one record, and every report anybody could make of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: TaskRecord | None = None
        self.ended: dict[int, TaskStatus] = {}
        self.highest = (0, 0, 0)
        self.labels: set[str] = set()

    @rule(status=st.sampled_from(TaskStatus), run=small, attempt=small, deliveries=small, label=small)
    def put(self, status: TaskStatus, run: int, attempt: int, deliveries: int, label: int) -> None:
        new, old = report(status, run, attempt, deliveries, label), self.stored
        if old is None:
            self._keep(new)
        elif accepts(old.fence, old.stage, new.fence, new.stage):
            assert new.run >= old.run, "an older run never comes back"
            assert new.run > old.run or not old.status.terminal, "an end is never overwritten within its run"
            assert new.fence >= old.fence, "an older fence never wins"
            if new.fence == old.fence:
                assert RANK[new.status] >= RANK[old.status], "within one fence it only goes forward"
            self._keep(merged(old, new))
        else:
            assert new.fence < old.fence or old.status.terminal or RANK[new.status] < RANK[old.status]

    def _keep(self, record: TaskRecord) -> None:
        self.stored = record
        self.highest = max(self.highest, record.fence)
        self.labels |= set(record.metadata)
        if record.status.terminal:
            assert self.ended.setdefault(record.run, record.status) is record.status

    @rule(progress=st.floats(0, 1), run=small, attempt=small, deliveries=small)
    def patch(self, progress: float, run: int, attempt: int, deliveries: int) -> None:
        if self.stored is None:
            return
        change = RecordPatch(id="t", fence=(run, attempt, deliveries), progress=progress)
        if patchable(self.stored, change):
            assert not self.stored.status.terminal
            assert (run, attempt, deliveries) >= self.stored.fence
            self.stored = patched(self.stored, change)

    @invariant()
    def what_is_stored_is_the_newest(self) -> None:
        if self.stored is not None:
            assert self.stored.run == self.highest[0]
            assert set(self.stored.metadata) == self.labels, "labels are united"
            numbers = [attempt.number for attempt in self.stored.attempts]
            assert len(numbers) == len(set(numbers)), "an attempt is kept once"


TestReports = Reports.TestCase


@given(st.integers(0, TERMINAL), st.integers(0, TERMINAL), small, small)
def test_a_newer_run_always_wins(old: int, new: int, attempt: int, deliveries: int) -> None:
    assert accepts((1, 9, 9), old, (2, attempt, deliveries), new)
    assert not accepts((2, attempt, deliveries), old, (1, 9, 9), new)


def test_the_same_unfinished_report_may_be_repeated() -> None:
    assert accepts((1, 1, 1), ASKED, (1, 1, 1), ASKED)
    assert not accepts((1, 1, 1), TERMINAL, (1, 1, 1), TERMINAL)


def test_failed_attempts_are_kept_up_to_a_limit() -> None:
    stored = report(TaskStatus.RETRY, 1, 1, 1)
    for attempt in range(2, MAX_ATTEMPTS_KEPT + 10):
        stored = merged(stored, report(TaskStatus.RETRY, 1, attempt, 1))
    assert len(stored.attempts) == MAX_ATTEMPTS_KEPT
    assert stored.attempts[-1].number == MAX_ATTEMPTS_KEPT + 9, "the newest are kept"


def test_a_new_run_begins_without_the_old_progress_and_attempts() -> None:
    old = patched(report(TaskStatus.RETRY, 1, 2, 1), RecordPatch(id="t", progress=0.7, note="almost"))
    new = merged(old, report(TaskStatus.PENDING, 2, 1, 0))
    assert (new.progress, new.note, new.attempts) == (None, "", ())


def test_a_late_running_report_does_not_forget_follow_ups_that_have_to_leave() -> None:
    kept = TaskRecord(id="t", name="n", queue="q", status=TaskStatus.RUNNING, followups=(b"one",), result=b"\x01")
    late = TaskRecord(id="t", name="n", queue="q", status=TaskStatus.RUNNING)
    both = merged(kept, late)
    assert (both.followups, both.result) == ((b"one",), b"\x01")
    over = merged(kept, TaskRecord(id="t", name="n", queue="q", status=TaskStatus.SUCCESS, result=b"\x01"))
    assert over.followups == (), "once they have left they are forgotten"
