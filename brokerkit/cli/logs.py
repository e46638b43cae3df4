"""Log lines of the worker, on stderr: for people, or as JSON."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

import click
import msgspec

from brokerkit.wire import encodable

LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, pid, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": encodable(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = encodable(record.exc_text or self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(*, level: str | None, as_json: bool) -> None:
    """Send all loggers' lines to stderr, unless the app has set up logging itself and nothing else was asked for.

    Args:
        level: One of ``LEVELS``; None for info.
        as_json: JSON instead of text.
    """
    root = logging.getLogger()
    if root.handlers and not as_json:
        if level is not None:
            root.setLevel(level.upper())
        return
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter(f"%(asctime)s [{os.getpid()}] %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(JsonFormatter() if as_json else text)
    logging.basicConfig(level=(level or "info").upper(), handlers=[handler], force=True)


def quiet() -> None:
    """Let brokerkit's own warnings be until the command ends, which says the same in its own words."""
    logger = logging.getLogger("brokerkit")
    level = logger.level
    logger.setLevel(logging.ERROR)
    click.get_current_context().call_on_close(lambda: logger.setLevel(level))
