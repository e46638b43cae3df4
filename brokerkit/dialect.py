"""What is known of a broker without a connection: for lint, explain, graphs and exports. These docstrings are the
specification; adapters do not repeat them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from brokerkit.topology import Finding, Queue, Topology
from brokerkit.transport import Capabilities


class Dialect(Protocol):
    """One kind of broker in one version. It is pure: no I/O, and no client library is loaded for it."""

    @property
    def capabilities(self) -> Capabilities:
        """What such a broker can do when nothing is configured otherwise; ``name`` is the broker and its version."""
        ...

    def findings(self, topology: Topology) -> Iterable[Finding]:
        """What the broker would refuse of a valid topology, and what it does otherwise than somebody may expect.

        What follows from ``capabilities`` need not be among it.
        """
        ...

    def lane(self, queue: Queue, level: int) -> str:
        """What the place is called, for an operator, where a lane's messages wait; level 0 is the least urgent."""
        ...

    def delay(self, topology: Topology, targets: Sequence[str], seconds: float) -> Sequence[str]:
        """The places, for an operator, in which a message waits that is due in ``seconds``.

        Args:
            topology: Valid.
            targets: The queues and logs that it will reach.
            seconds: At most what ``capabilities.delayed`` allows.
        """
        ...
