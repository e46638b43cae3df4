"""A worker that dies at each edge of its commit: nothing is lost, what has finished does not run again."""

from __future__ import annotations

from collections import Counter

from brokerkit.context import Context
from brokerkit.records import TaskStatus
from brokerkit.testing.conformance.engine_rig import EngineScenario, Layout, Rig
from brokerkit.testing.faults import Faults

COUNT = 12
EVERY_LAYOUT = tuple(Layout)

FIRST_EFFECT = ("commit", "put", "publish", "settle", "reply")


class Edge:
    """A moment at which a worker dies.

    Args:
        name: What the scenario is called.
        calls: At one of these calls.
        after: After it has had its effect.
        skip: How many such calls go well first.
        layouts: Where there is such a moment.
    """

    def __init__(
        self,
        name: str,
        *calls: str,
        after: bool = False,
        skip: int = 0,
        layouts: tuple[Layout, ...] = EVERY_LAYOUT,
    ) -> None:
        self.name = name
        self.calls = calls
        self.after = after
        self.skip = skip
        self.layouts = layouts


STEPS = (Layout.APART, Layout.BARE)
EDGES = (
    Edge("before_anything_runs", "receive", after=True),
    Edge("after_the_run", *FIRST_EFFECT),
    Edge("before_the_one_step", "commit", layouts=(Layout.SHARED,)),
    Edge("after_the_one_step", "commit", after=True, layouts=(Layout.SHARED,)),
    Edge("after_the_report_is_stored", "put", after=True, layouts=(Layout.APART,)),
    Edge("before_the_follow_ups_leave", "publish", layouts=STEPS),
    Edge("after_the_follow_ups_left", "publish", after=True, layouts=STEPS),
    Edge("before_the_second_report", "put", skip=2, layouts=(Layout.APART,)),
    Edge("after_the_second_report", "put", after=True, skip=2, layouts=(Layout.APART,)),
    Edge("before_settling", "settle", layouts=STEPS),
    Edge("after_settling", "settle", after=True, layouts=STEPS),
    Edge("before_the_reply", "reply"),
    Edge("after_the_reply", "reply", after=True),
)


def crash(edge: Edge) -> EngineScenario:
    """The scenario of one edge."""

    async def scenario(rig: Rig) -> None:
        if rig.layout in edge.layouts:
            await _nothing_is_lost(rig, edge)

    scenario.__name__ = f"a_crash_{edge.name}_loses_nothing"
    return scenario


async def _nothing_is_lost(rig: Rig, edge: Edge) -> None:
    runs: Counter[int] = Counter()
    arrived: Counter[str] = Counter()

    @rig.task()
    async def double(ctx: Context, n: int) -> int:
        runs[n] += 1
        await ctx.send(note.message(n))
        return 2 * n

    @rig.task(reply=False)
    async def note(ctx: Context, n: int) -> None:
        arrived[f"{n} as {ctx.id}"] += 1

    async with rig.opened():
        faults = Faults(rig.clock)
        faults.crash(*edge.calls, after=edge.after, skip=edge.skip)
        handles = await rig.send_all([double.message(n) for n in range(COUNT)])
        doomed = await rig.start(faults, concurrency=4)
        await rig.crashed(doomed)
        ran, finished = Counter(runs), await _finished(rig, [handle.id for handle in handles])
        await rig.start(concurrency=4)
        await rig.drained()
        assert not await rig.dead(), "nothing is dead-lettered by a crash"
        assert set(runs) == set(range(COUNT)), f"tasks are lost: only {sorted(runs)} ran"
        for n in finished:
            assert runs[n] == ran[n], f"{n} had finished, but its handler ran again"
        assert {key.split()[0] for key in arrived} == {str(n) for n in range(COUNT)}, "follow-ups are lost"
        assert len(arrived) == COUNT, f"follow-ups were sent again under other ids: {arrived}"
        if (
            rig.layout is not Layout.BARE
        ):  # there the reply leaves after the one step, and nothing else keeps the result
            assert [await rig.result(handle) for handle in handles] == [2 * n for n in range(COUNT)]


async def _finished(rig: Rig, ids: list[str]) -> list[int]:
    """Which of the tasks the store knows to have run to their end."""
    if not rig.layout.records:
        return []
    records = await rig.records.get(ids)
    return [
        n
        for n, record in enumerate(records)
        if record is not None and (record.status is TaskStatus.SUCCESS or record.followups)
    ]


SCENARIOS: tuple[EngineScenario, ...] = tuple(crash(edge) for edge in EDGES)
