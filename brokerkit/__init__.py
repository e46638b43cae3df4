"""brokerkit: describe your queues once; run typed functions on what arrives, and lose nothing."""

from typing import TYPE_CHECKING, Any

from brokerkit.abilities import DeadMessage
from brokerkit.app import App, Event
from brokerkit.calls import Call, SendOptions
from brokerkit.context import Context
from brokerkit.errors import (
    BrokerBlocked,
    BrokerkitError,
    CodecError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    DecodeError,
    DuplicateTask,
    EncodeError,
    GiveUp,
    MissingCapability,
    NotConfirmed,
    PublishFailed,
    PublishUnknown,
    QueueFull,
    ResultTooLarge,
    RetriesExhausted,
    RetryLater,
    StoreError,
    TaskCancelled,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    TaskTimedOut,
    TopologyConflict,
    TopologyError,
    TransportError,
    Unroutable,
)
from brokerkit.handle import Cancel, Handle
from brokerkit.records import ErrorInfo, TaskRecord, TaskStatus
from brokerkit.settings import Settings
from brokerkit.tasks import Task, Tasks
from brokerkit.topology import Binding, DeadLetter, Exchange, Group, Log, Queue, Retry, Topology
from brokerkit.transport import QueueStats

if TYPE_CHECKING:
    from brokerkit.worker import Worker, WorkerSettings

__version__ = "0.1.0"

__all__ = [
    "App",
    "Binding",
    "BrokerBlocked",
    "BrokerkitError",
    "Call",
    "Cancel",
    "CodecError",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "Context",
    "DeadLetter",
    "DeadMessage",
    "DecodeError",
    "DuplicateTask",
    "EncodeError",
    "ErrorInfo",
    "Event",
    "Exchange",
    "GiveUp",
    "Group",
    "Handle",
    "Log",
    "MissingCapability",
    "NotConfirmed",
    "PublishFailed",
    "PublishUnknown",
    "Queue",
    "QueueFull",
    "QueueStats",
    "ResultTooLarge",
    "RetriesExhausted",
    "Retry",
    "RetryLater",
    "SendOptions",
    "Settings",
    "StoreError",
    "Task",
    "TaskCancelled",
    "TaskError",
    "TaskExpired",
    "TaskFailed",
    "TaskNotFound",
    "TaskRecord",
    "TaskStatus",
    "TaskTimedOut",
    "Tasks",
    "Topology",
    "TopologyConflict",
    "TopologyError",
    "TransportError",
    "Unroutable",
    "Worker",
    "WorkerSettings",
]


def __getattr__(name: str) -> Any:
    """The engine's names, loaded when they are asked for."""
    if name in ("Worker", "WorkerSettings"):
        from brokerkit import worker

        return getattr(worker, name)
    raise AttributeError(f"module 'brokerkit' has no attribute {name!r}")
