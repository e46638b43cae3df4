"""The keywords of ``task``, ``handler``, ``subscribe``, ``options``, ``find`` and ``worker``, so that editors complete
them; ``TaskOptions``, ``SendOptions``, ``RecordFilter`` and ``WorkerSettings`` say what each means and check them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from brokerkit.calls import RecordLevel
from brokerkit.message import Scalar
from brokerkit.records import TaskStatus
from brokerkit.topology import Queue, Retry, Start


class TaskKeywords(TypedDict, total=False):
    """Fields of ``TaskOptions``."""

    name: str | None
    queue: Queue | str
    retry: Retry | None
    timeout: float | timedelta | None
    priority: int | str
    expires: float | timedelta | None
    record: RecordLevel
    reply: bool
    metadata: Mapping[str, Scalar] | None


class HandlerKeywords(TypedDict, total=False):
    """Fields of ``TaskOptions`` that a pattern handler has."""

    queue: Queue | str
    retry: Retry | None
    timeout: float | timedelta | None
    record: RecordLevel


class SendKeywords(TypedDict, total=False):
    """Fields of ``SendOptions``."""

    delay: float | timedelta | None
    at: datetime | None
    priority: int | str | None
    expires: float | timedelta | datetime | None
    timeout: float | timedelta | None
    retry: Retry | None
    headers: Mapping[str, Scalar] | None
    correlation_id: str | None
    metadata: Mapping[str, Scalar] | None
    id: str | None


class WorkerKeywords(TypedDict, total=False):
    """Fields of ``WorkerSettings``."""

    concurrency: int
    sync_threads: int
    grace: float
    queues: tuple[str, ...]
    max_unsettled: int
    loop_lag: float
    publish_deadline: float


class FindKeywords(TypedDict, total=False):
    """Fields of ``RecordFilter``."""

    name: str | None
    queue: str | None
    statuses: Sequence[TaskStatus]
    created_after: float | datetime | None
    created_before: float | datetime | None
    metadata: Mapping[str, Scalar]
    limit: int


class DeadLetterKeywords(TypedDict, total=False):
    """Fields of ``DeadLetterFilter``, besides ``ids`` and ``limit``."""

    error: str
    task: str
    older: float | timedelta | None
    newer: float | timedelta | None
    headers: Mapping[str, Scalar]


class SubscribeKeywords(TypedDict, total=False):
    """Options of ``subscribe``."""

    group: str
    type: type | str
    start: Start
    retry: Retry
