"""Cancellations at the border to aiormq, which both makes them up and swallows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from brokerkit.errors import ConnectionLost


@contextmanager
def true_cancellations() -> Iterator[None]:
    """Around an await of aiormq: a cancellation leaves it exactly when somebody has cancelled the task.

    aiormq ends what waits on a lost connection with a CancelledError of its own, which becomes a ``ConnectionLost``.
    Up to Python 3.11 the ``asyncio.wait_for`` in it forgets a cancellation that comes together with the answer
    (https://github.com/python/cpython/issues/86296), which is raised here.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except asyncio.CancelledError as error:
        if task is not None and task.cancelling():
            raise
        raise ConnectionLost("the connection was lost before the broker answered") from error
    except Exception as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
