"""Tools to test with. Nothing here needs pytest; the fixtures are in ``brokerkit.testing.plugin``, which pytest finds.

For the tests of programs, on an app with any URL, without a broker: ``immediate`` runs a task inside ``send``,
``dummy`` runs nothing and remembers what was sent, ``memory`` is a broker in this process whose time a test may move.
``override`` replaces dependencies. ``context`` makes a ``Context`` for calling a function directly.

For adapters: the conformance suite (``brokerkit.testing.conformance``) and fault injection.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.testing.clock import VirtualClock
    from brokerkit.testing.contexts import context
    from brokerkit.testing.sent import Sent, SentEvent, SentTask
    from brokerkit.testing.skipping import SkippingClock
    from brokerkit.testing.standins import StandIn, dummy, immediate, memory, override

__all__ = [
    "Sent",
    "SentEvent",
    "SentTask",
    "SkippingClock",
    "StandIn",
    "VirtualClock",
    "context",
    "dummy",
    "immediate",
    "memory",
    "override",
]

_HOMES = {
    "clock": "VirtualClock",
    "contexts": "context",
    "sent": "Sent SentEvent SentTask",
    "skipping": "SkippingClock",
    "standins": "StandIn dummy immediate memory override",
}
"""Which module each name comes from: pytest imports this package in every run, and shall not pay for what is unused."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'brokerkit.testing' has no attribute {name!r}")
    value = getattr(import_module(f"brokerkit.testing.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # looked up once
    return value
