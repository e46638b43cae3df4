"""The worker engine: consumes, executes, commits."""

from brokerkit.worker.engine import Environment
from brokerkit.worker.settings import WorkerSettings
from brokerkit.worker.worker import Worker

__all__ = ["Environment", "Worker", "WorkerSettings"]
