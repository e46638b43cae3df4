"""Tools to test with: a clock that a test moves, and the conformance suite (``brokerkit.testing.conformance``).

The memory broker with a ``VirtualClock`` runs days of retries in milliseconds. Nothing here needs pytest.
"""

from brokerkit.testing.clock import VirtualClock

__all__ = ["VirtualClock"]
