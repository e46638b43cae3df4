"""What a broker must be able to do so that its topology can be planned and changed. These docstrings are the
specification."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from brokerkit.planning.change import Options, Plan
from brokerkit.topology import Topology

Done = Callable[[str], None]
"""Told of each step when it has been carried out, in words. What it raises ends the work there."""


def nobody(step: str) -> None:
    """Tells nobody."""


class Planner(Protocol):
    """Compares and changes."""

    async def plan(self, wanted: Topology, options: Options) -> Plan:
        """What would change. Nothing is changed by asking.

        Raises:
            TopologyConflict: Another app declares an object with other attributes.
            TopologyError: The broker refuses the topology, or something that others declare is not as described.
            MissingCapability: The broker cannot do what is declared.
        """
        ...

    async def drift(self, app: str) -> Plan:
        """What would have to change for the broker to be again what the last apply of this app has left.

        Raises:
            TopologyError: Nothing of this app is remembered.
        """
        ...

    def alone(self, seconds: float) -> AbstractAsyncContextManager[None]:
        """Keep others from changing the topology; the end of the process lets go, too.

        Raises:
            ApplyUnderWay: Somebody else has kept it for so many seconds.
        """
        ...

    async def carry_out(self, plan: Plan, allow_loss: int, done: Done) -> None:
        """Do what a plan says, which was made just now by ``plan`` while ``alone``, and has nothing that is blocked.

        A process may end after any step: the plan that is made then has what is left to do.

        Args:
            plan: The plan.
            allow_loss: The most messages that may be deleted, all changes together.
            done: Told of each step.

        Raises:
            DataAtRisk: More messages than that have come to where they would be deleted; that was not done.
            PlanOutdated: The broker has changed meanwhile.
        """
        ...


@runtime_checkable
class Plans(Protocol):
    """A transport whose topology can be planned."""

    @property
    def planner(self) -> Planner:
        """What plans; usable while the transport is entered."""
        ...
