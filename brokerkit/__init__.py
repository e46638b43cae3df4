"""brokerkit: describe your queues once; run typed functions on what arrives, and lose nothing.

The names below are loaded when they are first used, so that a command or a script pays only for what it needs.

PYTEST_DONT_REWRITE: pytest finds our plugin, and would complain of a brokerkit that was imported before it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.abilities import DeadMessage
    from brokerkit.app import App
    from brokerkit.calls import Call, SendOptions
    from brokerkit.client.handle import Cancel, Handle
    from brokerkit.client.progress import progress_bar
    from brokerkit.client.sending import Event
    from brokerkit.context import Context
    from brokerkit.deadletters import DeadLetterGroup, DeadLetterGroups
    from brokerkit.errors import (
        BrokerBlocked,
        BrokerkitError,
        CanaryFailed,
        CodecError,
        ConfigurationError,
        ConnectFailed,
        ConnectionLost,
        CountMismatch,
        DeadLetterError,
        DecodeError,
        DuplicateTask,
        EncodeError,
        GiveUp,
        LifespanFailed,
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
    from brokerkit.handlers.dependencies import Depends
    from brokerkit.records import ErrorInfo, TaskRecord, TaskStatus
    from brokerkit.settings import Settings
    from brokerkit.store import Retention
    from brokerkit.tasks import Task, Tasks
    from brokerkit.topology import Binding, DeadLetter, Exchange, Group, Log, Queue, Retry, Topology
    from brokerkit.transport import QueueStats
    from brokerkit.worker import Worker, WorkerSettings

__version__ = "0.1.0"

__all__ = [
    "App",
    "Binding",
    "BrokerBlocked",
    "BrokerkitError",
    "Call",
    "CanaryFailed",
    "Cancel",
    "CodecError",
    "ConfigurationError",
    "ConnectFailed",
    "ConnectionLost",
    "Context",
    "CountMismatch",
    "DeadLetter",
    "DeadLetterError",
    "DeadLetterGroup",
    "DeadLetterGroups",
    "DeadMessage",
    "DecodeError",
    "Depends",
    "DuplicateTask",
    "EncodeError",
    "ErrorInfo",
    "Event",
    "Exchange",
    "GiveUp",
    "Group",
    "Handle",
    "LifespanFailed",
    "Log",
    "MissingCapability",
    "NotConfirmed",
    "PublishFailed",
    "PublishUnknown",
    "Queue",
    "QueueFull",
    "QueueStats",
    "ResultTooLarge",
    "Retention",
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
    "progress_bar",
]

_HOMES = {
    "abilities": "DeadMessage",
    "app": "App",
    "calls": "Call SendOptions",
    "client.handle": "Cancel Handle",
    "client.progress": "progress_bar",
    "client.sending": "Event",
    "context": "Context",
    "deadletters": "DeadLetterGroup DeadLetterGroups",
    "errors": (
        "BrokerBlocked BrokerkitError CanaryFailed CodecError ConfigurationError ConnectFailed ConnectionLost "
        "CountMismatch DeadLetterError DecodeError DuplicateTask EncodeError GiveUp LifespanFailed MissingCapability "
        "NotConfirmed PublishFailed PublishUnknown QueueFull ResultTooLarge RetriesExhausted RetryLater StoreError "
        "TaskCancelled TaskError TaskExpired TaskFailed TaskNotFound TaskTimedOut TopologyConflict TopologyError "
        "TransportError Unroutable"
    ),
    "handlers.dependencies": "Depends",
    "records": "ErrorInfo TaskRecord TaskStatus",
    "settings": "Settings",
    "store": "Retention",
    "tasks": "Task Tasks",
    "topology": "Binding DeadLetter Exchange Group Log Queue Retry Topology",
    "transport": "QueueStats",
    "worker": "Worker WorkerSettings",
}
"""Which module each name comes from."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'brokerkit' has no attribute {name!r}")
    value = getattr(import_module(f"brokerkit.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # looked up once
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
