"""Logs and their groups: each group sees everything, shared among its members."""

from __future__ import annotations

from datetime import UTC, datetime

from brokerkit.abilities import Replay
from brokerkit.outcome import ACK, DeadLetter, Reason, Redeliver
from brokerkit.testing.conformance.bench import dead_letters, ids, ids_of, redrive
from brokerkit.testing.conformance.harness import Harness, Scenario, needs
from brokerkit.testing.conformance.log_bench import log_bench
from brokerkit.transport import Published


async def each_group_sees_every_message_in_order(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        groups = [await logs.group(name) for name in ("fraud", "stock")]
        sent = await logs.publish(5)
        for group in groups:
            async with logs.reader(group) as reader:
                got = await reader.drain(5)
                assert ids(got) == ids_of(sent), f"group {group.name} saw something else"
                assert got[0].message == sent[0], "the message changed on its way"
                assert got[0].lane.source == group.key, f"it came from {got[0].lane.source}"


async def members_of_a_group_share_its_messages(harness: Harness) -> None:
    async with log_bench(harness) as logs, harness.connect() as other:
        group = await logs.group("fraud")
        async with logs.reader(group) as here, logs.reader(group, other) as there:
            sent = await logs.publish(10)
            got = await here.whatever(3) + await there.whatever(3)
            assert sorted(ids(got)) == sorted(ids_of(sent)), "a message was lost or seen twice in one group"


async def a_group_begins_with_what_is_published_after_it(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        early = await logs.group("early")
        first = await logs.publish(2)
        late = await logs.group("late")
        second = await logs.publish(1)
        async with logs.reader(late) as reader:
            assert ids(await reader.drain(1)) == ids_of(second), "a new group begins at the end of the log"
        async with logs.reader(early) as reader:
            assert ids(await reader.drain(3)) == ids_of(first + second), "the earlier group sees all"


@needs("history")
async def a_group_may_begin_with_the_history(harness: Harness) -> None:
    async with log_bench(harness, history=True) as logs:
        first = await logs.publish(3)
        group = await logs.group("auditors", start="earliest")
        second = await logs.publish(1)
        async with logs.reader(group) as reader:
            assert ids(await reader.drain(4)) == ids_of(first + second), "the whole log was asked for"


@needs("history")
async def a_group_may_begin_at_a_time(harness: Harness) -> None:
    async with log_bench(harness, history=True) as logs:
        await logs.publish(2)
        await harness.advance(harness.step)
        moment = datetime.fromtimestamp(harness.clock.now(), UTC)
        await harness.advance(harness.step)
        later = await logs.publish(2)
        group = await logs.group("auditors", start=moment)
        later += await logs.publish(1)
        async with logs.reader(group) as reader:
            assert ids(await reader.drain(3)) == ids_of(later), "what came from then on was asked for"
            await reader.nothing("what came before was not")


async def a_log_without_groups_accepts(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        await logs.publish(1)


async def applying_a_group_again_keeps_its_place(harness: Harness) -> None:
    async with log_bench(harness, history=True) if await _has_history(harness) else log_bench(harness) as logs:
        await logs.group("fraud")
        sent = await logs.publish(2)
        group = await logs.group("fraud")
        async with logs.reader(group) as reader:
            assert ids(await reader.drain(2)) == ids_of(sent), "what it had not read is still there, once"
            await reader.nothing("there were two messages")


async def _has_history(harness: Harness) -> bool:
    async with harness.connect() as transport:
        return transport.capabilities.history


async def a_group_retries_on_its_own(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        failing, fine = await logs.group("failing"), await logs.group("fine")
        [sent] = await logs.publish(1)
        async with logs.reader(failing) as bad, logs.reader(fine) as good:
            await bad.settle(Redeliver(0, attempt=2), await bad.one())
            [delivery] = await good.drain(1)
            assert delivery.message.attempt == 1, "another group's retry is not ours"
            [again] = await bad.drain(1)
            assert (again.message.id, again.message.attempt) == (sent.id, 2), "the retry comes to its own group"
            await good.nothing("another group's retry is not ours")


@needs("redrive")
async def a_group_has_its_own_dead_letters(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        failing, fine = await logs.group("failing"), await logs.group("fine")
        transport = logs.b.transport
        [sent] = await logs.publish(1)
        async with logs.reader(failing) as bad, logs.reader(fine) as good:
            await bad.settle(DeadLetter(Reason.FAILED, "no"), await bad.one())
            await good.drain(1)
            [dead] = await dead_letters(transport, failing.key)
            assert (dead.message.id, dead.source) == (sent.id, failing.key), f"the dead letter is {dead}"
            assert not await dead_letters(transport, fine.key), "the other group has none"
            assert len(await redrive(transport, failing.key)) == 1, "one was there"
            [again] = await bad.drain(1)
            assert (again.message.id, again.message.run) == (sent.id, 2), "it is sent back as a new run"
            await good.nothing("a redrive is for one group")


async def retention_wins_over_a_group_and_is_counted(harness: Harness) -> None:
    async with log_bench(harness, max_length=3) as logs:
        group = await logs.group("slow")
        sent = await logs.publish(5)
        await logs.check_lost(group, 2, "two were removed before the group saw them")
        async with logs.reader(group) as reader:
            assert ids(await reader.drain(3)) == ids_of(sent)[2:], "the newest three are kept"
            await reader.nothing("the others are gone")
        await logs.publish(5)
        await logs.check_lost(group, 4, "what the group has read is not lost")


async def retention_by_age_removes_what_is_old(harness: Harness) -> None:
    async with log_bench(harness, retention=2 * harness.step) as logs:
        group = await logs.group("slow")
        await logs.publish(2)
        await harness.advance(3 * harness.step)
        [young] = await logs.publish(1)
        async with logs.reader(group) as reader:
            assert ids(await reader.drain(1)) == [young.id], "the others are older than the retention"
        await logs.check_lost(group, 2, "the loss is counted")


async def retention_by_bytes_removes_the_oldest(harness: Harness) -> None:
    async with log_bench(harness, max_bytes=100_000) as logs:
        group = await logs.group("slow")
        sent = await logs.publish(20, body=b"x" * 10_000)
        async with logs.reader(group) as reader:
            got = ids(await reader.whatever())
        assert got == ids_of(sent)[-len(got) :], "the newest are kept, in order"
        assert 5 <= len(got) <= 10, f"about ten bodies fit, {len(got)} were kept"
        await logs.check_lost(group, 20 - len(got), "the loss is counted")


async def what_a_member_holds_outlives_retention(harness: Harness) -> None:
    async with log_bench(harness, max_length=2) as logs:
        group = await logs.group("slow")
        [first] = await logs.publish(1)
        async with logs.reader(group) as reader:
            held = await reader.one()
            await logs.publish(5)
            assert held.message.id == first.id, "something else came"
            await reader.settle(ACK, held)
        await logs.check_lost(group, 3, "what was in a member's hands was not lost")


@needs("hold_for_groups")
async def a_log_may_hold_what_its_groups_have_not_read(harness: Harness) -> None:
    async with log_bench(harness, max_length=3, retention=harness.step, hold_for_groups=True) as logs:
        group = await logs.group("slow")
        sent = await logs.publish(3)
        await harness.advance(3 * harness.step)
        answer = await logs.offer(logs.b.message())
        assert answer is Published.FULL, f"its cap is reached, but it answered {answer}"
        async with logs.reader(group) as reader:
            assert ids(await reader.drain(3)) == ids_of(sent), "nothing was removed before it was read"
            [late] = await logs.publish(1)
            assert ids(await reader.drain(1)) == [late.id], "there is room again"
        await logs.check_lost(group, 0, "nothing was lost")


@needs("replay")
async def a_replay_delivers_the_history_again(harness: Harness) -> None:
    async with log_bench(harness, history=True) as logs:
        transport = logs.b.transport
        assert isinstance(transport, Replay), "replay is declared"
        group, other = await logs.group("auditors"), await logs.group("others")
        old = await logs.publish(2)
        async with logs.reader(group) as reader, logs.reader(other) as untouched:
            await reader.drain(2)
            await untouched.drain(2)
            await harness.advance(harness.step)
            since = harness.clock.now()
            young = await logs.publish(1)
            await reader.drain(1)
            await untouched.drain(1)
            assert await transport.replay(logs.log.name, group.name, since=since - harness.step / 2) == 1, (
                "one is younger"
            )
            assert ids(await reader.drain(1)) == ids_of(young), "only the younger one"
            assert await transport.replay(logs.log.name, group.name) == 3, "the whole history"
            assert ids(await reader.drain(3)) == ids_of(old + young), "the whole history, in order"
            await untouched.nothing("a replay is for one group")


@needs("delayed")
async def a_delayed_message_enters_the_log_when_it_is_due(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        group = await logs.group("patient")
        [sent] = await logs.publish(1, due=harness.clock.now() + harness.step)
        async with logs.reader(group) as reader:
            await reader.nothing("it is not due yet")
            await harness.advance(harness.step)
            assert ids(await reader.drain(1)) == [sent.id], "now it is due"


@needs("delayed")
async def a_delayed_message_reaches_groups_that_came_meanwhile(harness: Harness) -> None:
    async with log_bench(harness) as logs:
        [sent] = await logs.publish(1, due=harness.clock.now() + harness.step)
        group = await logs.group("late")
        async with logs.reader(group) as reader:
            await harness.advance(harness.step)
            assert ids(await reader.drain(1)) == [sent.id], "the group was there when it was due"


SCENARIOS: tuple[Scenario, ...] = (
    each_group_sees_every_message_in_order,
    members_of_a_group_share_its_messages,
    a_group_begins_with_what_is_published_after_it,
    a_group_may_begin_with_the_history,
    a_group_may_begin_at_a_time,
    a_log_without_groups_accepts,
    applying_a_group_again_keeps_its_place,
    a_group_retries_on_its_own,
    a_group_has_its_own_dead_letters,
    retention_wins_over_a_group_and_is_counted,
    retention_by_age_removes_what_is_old,
    retention_by_bytes_removes_the_oldest,
    what_a_member_holds_outlives_retention,
    a_log_may_hold_what_its_groups_have_not_read,
    a_replay_delivers_the_history_again,
    a_delayed_message_enters_the_log_when_it_is_due,
    a_delayed_message_reaches_groups_that_came_meanwhile,
)
