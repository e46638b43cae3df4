"""How a worker works."""

from __future__ import annotations

import msgspec


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one worker process.

    Args:
        concurrency: Slots: handlers that run at the same time. Default 32; where all handlers are sync, no more than
            there are threads.
        sync_threads: Threads for sync handlers. Default 8. A message that waits for one is held by this worker: where
            sync handlers run for long, give them workers of their own, see ``queues``.
        grace: Seconds that running handlers get when the worker stops. Default 30.
        queues: Only these queues and groups (``log@group``); () for all.
        max_unsettled: Finished messages that may wait for a slow store or broker before intake stops. Default
            10 000.
        loop_lag: Seconds the event loop may be blocked before a warning names the handler; 0 for never. Default 2.
        publish_deadline: Seconds for one publish of follow-ups or replies. Default 10.

    Raises:
        ValueError: A value makes no sense.
    """

    concurrency: int = 32
    sync_threads: int = 8
    grace: float = 30.0
    queues: tuple[str, ...] = ()
    max_unsettled: int = 10_000
    loop_lag: float = 2.0
    publish_deadline: float = 10.0

    def __post_init__(self) -> None:
        for name in ("concurrency", "sync_threads", "max_unsettled"):
            number = getattr(self, name)
            if not isinstance(number, int) or number < 1:
                raise ValueError(f"{name}={number!r}: give a whole number, at least 1")
        queues: object = self.queues
        if not isinstance(queues, tuple | list) or not all(isinstance(key, str) for key in queues):
            raise ValueError(f"queues={queues!r}: give the names of queues and groups, as a tuple")
        for name in ("grace", "loop_lag", "publish_deadline"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}: give seconds >= 0")
