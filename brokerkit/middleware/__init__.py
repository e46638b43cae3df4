"""Wrappers round receiving and sending, one concern per file, composed by a fold at registration.

A middleware for receiving is a function from ``Receive`` to ``Receive``; one for sending from ``Send`` to ``Send``. The
first in a list is the outermost. The worker's deadline lies outside all of them, so a timeout covers what they do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from brokerkit.handlers.handler import Receive
from brokerkit.message import Outgoing
from brokerkit.transport import Published

Send = Callable[[Sequence[Outgoing]], Awaitable[Sequence[Published]]]
"""Publishes a batch, an answer per message; what middleware for sending wraps."""

SendMiddleware = Callable[[Send], Send]
ReceiveMiddleware = Callable[[Receive], Receive]


def fold(middleware: Sequence[ReceiveMiddleware], receive: Receive) -> Receive:
    """Wrap, the first one outermost."""
    for wrap in reversed(middleware):
        receive = wrap(receive)
    return receive


__all__ = ["Receive", "ReceiveMiddleware", "Send", "SendMiddleware", "fold"]
