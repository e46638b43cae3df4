"""The memory transport: the semantics of the other brokers in one process, on an injectable clock.

It needs no network and keeps nothing beyond the process; tests run on it. ``mode="verify"`` and ``"trust"`` create
what is missing, too: nobody else could have created it.
"""

from brokerkit.transports.memory.broker import MemoryBroker
from brokerkit.transports.memory.transport import MemoryTransport

__all__ = ["MemoryBroker", "MemoryTransport"]
