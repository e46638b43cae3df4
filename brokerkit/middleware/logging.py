"""Log lines for what is received and sent. Payloads stay out unless asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from brokerkit.context import Context
from brokerkit.handlers.handler import Receive
from brokerkit.message import Outgoing
from brokerkit.middleware import ReceiveMiddleware, Send, SendMiddleware
from brokerkit.transport import Published

_LONGEST = 500


def log_received(*, payload: bool = False, logger: logging.Logger | None = None) -> ReceiveMiddleware:
    """Log each attempt's start at DEBUG, its end at INFO, its failure at WARNING.

    Args:
        payload: Add the arguments, cut to 500 characters. They may hold secrets.
        logger: Default ``brokerkit.received``.
    """
    log = logger or logging.getLogger("brokerkit.received")

    def wrap(receive: Receive) -> Receive:
        async def logged(context: Context) -> Any:
            extra = f" {context.args!r}"[:_LONGEST] if payload else ""
            log.debug("%s %s attempt %d starts%s", context.name, context.id, context.attempt, extra)
            began = time.perf_counter()
            try:
                value = await receive(context)
            except BaseException as error:
                took = time.perf_counter() - began
                log.warning(
                    "%s %s attempt %d failed after %.3f s: %s",
                    context.name, context.id, context.attempt, took, type(error).__name__,
                )  # fmt: skip
                raise
            log.info(
                "%s %s attempt %d done in %.3f s",
                context.name,
                context.id,
                context.attempt,
                time.perf_counter() - began,
            )
            return value

        return logged

    return wrap


def log_sent(*, payload: bool = False, logger: logging.Logger | None = None) -> SendMiddleware:
    """Log each published message at DEBUG, each one that was not confirmed at WARNING.

    Args:
        payload: Add the encoded body, cut to 500 characters. It may hold secrets.
        logger: Default ``brokerkit.sent``.
    """
    log = logger or logging.getLogger("brokerkit.sent")

    def wrap(send: Send) -> Send:
        async def logged(messages: Sequence[Outgoing]) -> Sequence[Published]:
            answers = await send(messages)
            for outgoing, answer in zip(messages, answers, strict=True):
                message = outgoing.message
                extra = f" {message.body!r}"[:_LONGEST] if payload else ""
                level = logging.DEBUG if answer is Published.CONFIRMED else logging.WARNING
                where = f"{outgoing.exchange or 'queue'} {outgoing.routing_key}"
                log.log(level, "%s %s to %s: %s%s", message.name, message.id, where, answer.value, extra)
            return answers

        return logged

    return wrap
