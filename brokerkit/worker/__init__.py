"""The worker engine: consumes, executes, commits."""

from brokerkit.worker.settings import WorkerSettings
from brokerkit.worker.worker import Environment, Worker

__all__ = ["Environment", "Worker", "WorkerSettings"]
