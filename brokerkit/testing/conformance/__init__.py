"""What every transport and every store has to do, as scenarios that raise ``AssertionError``.

For an adapter's tests: write a ``Harness`` (a ``StoreHarness``) and run each scenario with a harness of its own ::

    @pytest.mark.parametrize("scenario", TRANSPORT_SCENARIOS, ids=lambda scenario: scenario.__name__)
    async def test_transport(scenario: Scenario) -> None:
        await scenario(MyHarness())

A new theme is a module ``transport_<theme>.py`` or ``store_<theme>.py`` with a tuple ``SCENARIOS``, added here.
"""

from brokerkit.testing.conformance import (
    store_fences,
    store_marks,
    store_upkeep,
    transport_cancelling,
    transport_commits,
    transport_crashes,
    transport_dead_letter_looks,
    transport_dead_letters,
    transport_delays,
    transport_expiry,
    transport_logs,
    transport_messages,
    transport_receiving,
    transport_routing,
    transport_settling,
    transport_talk,
    transport_topology,
)
from brokerkit.testing.conformance.harness import Harness, Injector, Scenario, StoreHarness, StoreScenario, needs

TRANSPORT_SCENARIOS: tuple[Scenario, ...] = (
    *transport_messages.SCENARIOS,
    *transport_receiving.SCENARIOS,
    *transport_settling.SCENARIOS,
    *transport_crashes.SCENARIOS,
    *transport_delays.SCENARIOS,
    *transport_expiry.SCENARIOS,
    *transport_dead_letters.SCENARIOS,
    *transport_dead_letter_looks.SCENARIOS,
    *transport_routing.SCENARIOS,
    *transport_logs.SCENARIOS,
    *transport_topology.SCENARIOS,
    *transport_cancelling.SCENARIOS,
    *transport_commits.SCENARIOS,
    *transport_talk.SCENARIOS,
)
"""Every scenario for transports."""

STORE_SCENARIOS: tuple[StoreScenario, ...] = (*store_fences.SCENARIOS, *store_upkeep.SCENARIOS, *store_marks.SCENARIOS)
"""Every scenario for stores of records."""

__all__ = [
    "STORE_SCENARIOS",
    "TRANSPORT_SCENARIOS",
    "Harness",
    "Injector",
    "Scenario",
    "StoreHarness",
    "StoreScenario",
    "needs",
]
