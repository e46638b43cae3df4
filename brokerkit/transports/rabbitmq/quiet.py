"""What aiormq logs of our own connections goes to DEBUG: brokerkit says the same in its own words, once.

Connections that a program opens with aiormq by itself log as before: ours are told apart by the context their tasks
were started in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ours: ContextVar[bool] = ContextVar("brokerkit_rabbitmq_ours", default=False)
_LOGGERS = ("aiormq.connection", "aiormq.channel")


class _Demote(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if not _ours.get() or record.levelno <= logging.DEBUG:
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


_demote = _Demote()


@contextmanager
def quiet() -> Iterator[None]:
    """Around every call into aiormq that starts tasks: they inherit the context."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_demote)  # once only, however often it is called
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
