"""What the worker has to do on every transport, wherever records are kept.

Run each scenario with a rig of its own, once per layout ::

    @pytest.mark.parametrize("layout", Layout, ids=lambda layout: layout.name)
    @pytest.mark.parametrize("scenario", ENGINE_SCENARIOS, ids=lambda scenario: scenario.__name__)
    async def test_engine(scenario: EngineScenario, layout: Layout) -> None:
        await scenario(Rig(MyHarness(), layout))

A layout that a scenario has nothing to say about passes. A new theme is a module ``engine_<theme>.py`` with a tuple
``SCENARIOS``, added here.
"""

from brokerkit.testing.conformance import (
    engine_commit,
    engine_crashes,
    engine_drain,
    engine_lanes,
    engine_leases,
    engine_outcomes,
    engine_records,
    engine_replies,
    engine_running,
)
from brokerkit.testing.conformance.engine_rig import EngineScenario, Layout, Rig

ENGINE_SCENARIOS: tuple[EngineScenario, ...] = (
    *engine_crashes.SCENARIOS,
    *engine_leases.SCENARIOS,
    *engine_commit.SCENARIOS,
    *engine_outcomes.SCENARIOS,
    *engine_running.SCENARIOS,
    *engine_drain.SCENARIOS,
    *engine_lanes.SCENARIOS,
    *engine_records.SCENARIOS,
    *engine_replies.SCENARIOS,
)
"""Every scenario for the worker."""

__all__ = ["ENGINE_SCENARIOS", "EngineScenario", "Layout", "Rig"]
