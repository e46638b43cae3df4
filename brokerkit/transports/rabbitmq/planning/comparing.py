"""From what is wanted, remembered and seen to what has to be done. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from brokerkit.planning.change import Action, Change, Difference, Options, Risk, text_of
from brokerkit.transports.rabbitmq.plan import BindingPlan, ExchangePlan, Named, QueuePlan, is_shared
from brokerkit.transports.rabbitmq.planning.layout import Drain, Layout, target_of
from brokerkit.transports.rabbitmq.planning.objects import Objects, binding_name, from_parts, own_only, owners, together
from brokerkit.transports.rabbitmq.planning.observing import Seen, named
from brokerkit.transports.rabbitmq.planning.state import State, Swapping
from brokerkit.transports.rabbitmq.planning.wording import binding_change, change_of, difference_of, policy_change
from brokerkit.transports.rabbitmq.policies import Policy

REPLACE = "--replace side-by-side"


class Work(NamedTuple):
    """What has to be done.

    Args:
        changes: In words, in order; how much is where is not known yet.
        create: Exchanges and queues.
        put: Policies to set.
        drop: Policies to remove.
        bind: Bindings.
        remake: Exchanges that cannot be changed.
        swap: Queues that cannot be changed, with what changes.
        unbind: Bindings.
        drain: Queues whose messages move before they are deleted.
        loosen: Bindings of what is deleted: an exchange goes only when nothing is bound to it.
        delete: Exchanges and queues.
        done: What the app has then.
        leftovers: What it has and no longer declares, in words.
    """

    changes: tuple[Change, ...]
    create: tuple[ExchangePlan | QueuePlan, ...]
    put: tuple[Policy, ...]
    drop: tuple[Policy, ...]
    bind: tuple[BindingPlan, ...]
    remake: tuple[ExchangePlan, ...]
    swap: Mapping[str, Swapping]
    unbind: tuple[BindingPlan, ...]
    drain: Mapping[str, Drain]
    loosen: tuple[BindingPlan, ...]
    delete: tuple[ExchangePlan | QueuePlan, ...]
    done: Objects
    leftovers: tuple[str, ...]


def compare(app: str, wanted: Objects, state: State, seen: Seen, options: Options) -> Work:
    """Compare.

    Args:
        app: The app.
        wanted: What it is to own.
        state: What is remembered.
        seen: What is there, of what is wanted or remembered.
        options: How to plan.
    """
    return _Comparison(app, wanted, state, seen, options).work()


def of_interest(app: str, wanted: Objects, state: State) -> list[ExchangePlan | QueuePlan]:
    """What has to be looked at."""
    mine = state.of(app)
    return [*(mine.begun.named | mine.done.named | wanted.named).values()]


class _Comparison:
    def __init__(self, app: str, wanted: Objects, state: State, seen: Seen, options: Options) -> None:
        self._wanted, self._seen, self._options = wanted, seen, options
        self._mine = state.of(app)
        self._had = together([self._mine.begun, self._mine.done])
        self._had_bound, self._done_bound = self._had.bound, self._mine.done.bound
        self._elsewhere = set(owners((name, each.done) for name, each in state.apps.items() if name != app))
        self._others = {name for name, _ in self._elsewhere}
        self._names, self._bound = wanted.named, wanted.bound
        self._foreign = self._find_foreign()
        self._layout = Layout(wanted)

    def work(self) -> Work:
        swap = dict(self._swaps())
        remake = tuple(self._remade())
        create = tuple(
            each for name, each in self._names.items() if name not in self._seen.there and name.name not in swap
        )
        fresh = {named(each) for each in (*create, *remake)}
        # What leads to a queue that is replaced is looked after there.
        bind = tuple(
            each
            for each in self._wanted.bindings
            if self._is_missing(each, fresh) and not (each.to_queue and each.destination in swap)
        )
        gone, stays = self._no_longer_wanted()
        unbind, kept = self._no_longer_bound({named(each) for each in gone})
        put, drop = tuple(self._policies()), tuple(self._old_policies({named(each) for each in gone}))
        drain = {each.name: where for each in gone if (where := self._layout.drain(each)) is not None}
        changes = [
            *self._adopted(swap),
            *(change_of(Action.CREATE, each) for each in create),
            *(self._policy_change(policy) for policy in put),
            *(policy_change(Action.DELETE, policy) for policy in drop),
            *(self._remaking(each) for each in remake),
            *(self._swapping(name, each) for name, each in swap.items()),
            *(binding_change(Action.BIND, each) for each in bind),
            *(binding_change(Action.UNBIND, each, self._layout.covers(each)) for each in unbind),
            *self._released(),
            *(self._deletion(each, drain) for each in gone),
        ]
        done = together([from_parts(stays, kept, ()), own_only(self._wanted)])
        leftovers = (
            *(f"{named(each).kind} {each.name}" for each in stays),
            *(f"binding {binding_name(each)}" for each in kept),
        )
        ends = {named(each) for each in gone}
        loosen = [each for each in self._had.bindings if {Named("exchange", each.source), target_of(each)} & ends]
        return Work(
            tuple(changes), create, put, drop, bind, remake, swap, tuple(unbind), drain, tuple(loosen), tuple(gone),
            done, leftovers,
        )  # fmt: skip

    # What is there otherwise

    def _swaps(self) -> Iterator[tuple[str, Swapping]]:
        """Queues that are being replaced, or have to be."""
        for name, swap in self._mine.swaps.items():
            wanted = self._names.get(Named("queue", name))
            yield name, Swapping(swap.phase, wanted if isinstance(wanted, QueuePlan) else swap.wanted, swap.differences)
        for queue in self._wanted.queues:
            differing = self._seen.there.get(Named("queue", queue.name), ())
            if differing and queue.name not in self._mine.swaps:
                yield queue.name, Swapping("out", queue, tuple(map(difference_of, differing)))

    def _remade(self) -> Iterator[ExchangePlan]:
        return (each for each in self._wanted.exchanges if self._seen.there.get(named(each)))

    def _swapping(self, name: str, swap: Swapping) -> Change:
        resumed = name in self._mine.swaps
        note = "another queue takes its place and gives it back; workers follow, and its order breaks at the seams"
        if resumed:
            note = "an earlier apply has begun to replace it"
        blocked = ""
        if self._options.replace != "side-by-side":
            blocked = f"these cannot be changed in a queue that is there; {REPLACE} moves its messages to a new one"
        if is_shared(name):
            blocked = "all apps of the virtual host share it, and it was made otherwise; have an operator look at it"
        return Change(
            action=Action.REPLACE, kind="queue", name=name, differences=swap.differences,
            risk=Risk.HIGH, note=note, blocked=blocked,
        )  # fmt: skip

    def _remaking(self, exchange: ExchangePlan) -> Change:
        blocked, foreign = "", [binding_name(each) for each in self._foreign.get(exchange.name, ())]
        if self._options.replace != "side-by-side":
            blocked = f"these cannot be changed in an exchange that is there; {REPLACE} makes it anew"
        elif is_shared(exchange.name):
            blocked = "all apps of the virtual host share it, and it was made otherwise; have an operator look at it"
        elif foreign:
            blocked = f"others have bound to it, and that would be lost: {', '.join(foreign)}; have them unbind"
        note = "it is deleted and made anew: what is published to it meanwhile is refused"
        if self._seen.bindings is None:
            note += ", and bindings of others are lost"
        return Change(
            action=Action.REPLACE, kind="exchange", name=exchange.name, risk=Risk.HIGH, note=note, blocked=blocked,
            differences=tuple(map(difference_of, self._seen.there[named(exchange)])),
        )  # fmt: skip

    def _find_foreign(self) -> dict[str, list[BindingPlan]]:
        """Bindings of others by the exchanges and queues that they lead from and to, as far as anybody tells."""
        found: dict[str, list[BindingPlan]] = {}
        for identity, binding in (self._seen.bindings or {}).items():
            ours = is_shared(binding.source) or is_shared(binding.destination)
            if identity not in self._bound and identity not in self._had_bound and not ours:
                for name in {binding.source, binding.destination}:
                    found.setdefault(name, []).append(binding)
        return found

    # What is there as wanted

    def _adopted(self, swapped: Collection[str]) -> Iterator[Change]:
        known = self._mine.begun.named | self._mine.done.named
        note = "it is there already; from now on it is remembered as this app's"
        for name, each in own_only(self._wanted).named.items():
            as_wanted = name in self._seen.there and not self._seen.there[name] and name.name not in swapped
            if as_wanted and name not in known:
                yield change_of(Action.ADOPT, each, note=note)

    def _is_missing(self, binding: BindingPlan, fresh: Collection[Named]) -> bool:
        """Whether it has to be bound, as far as anybody knows."""
        source, target = Named("exchange", binding.source), target_of(binding)
        if self._seen.bindings is not None:
            there = binding.identity in self._seen.bindings
            return source in fresh or target in fresh or not there
        if is_shared(binding.source) and is_shared(binding.destination):
            return source in fresh or target in fresh
        return source in fresh or target in fresh or binding.identity not in self._done_bound

    def _policies(self) -> Iterator[Policy]:
        if self._seen.policies is not None:
            for policy in self._wanted.policies:
                if self._seen.policies.get(policy.name) != policy.definition:
                    yield policy

    def _policy_change(self, policy: Policy) -> Change:
        found = (self._seen.policies or {}).get(policy.name)
        if found is None:
            return policy_change(Action.CREATE, policy)
        names = sorted({*found, *policy.definition})
        differing = [
            Difference(name, text_of(found.get(name)), text_of(policy.definition.get(name)))
            for name in names
            if found.get(name) != policy.definition.get(name)
        ]
        return msgspec.structs.replace(
            policy_change(Action.UPDATE, policy), differences=tuple(differing), risk=Risk.LOW
        )

    def _old_policies(self, gone: Collection[Named]) -> Iterator[Policy]:
        if self._seen.policies is None:
            return
        wanted = {policy.queue for policy in self._wanted.policies}
        for policy in self._had.policies:
            queue = Named("queue", policy.queue)
            there = policy.name in self._seen.policies
            if policy.queue not in wanted and there and (queue in self._names or queue in gone):
                yield policy

    # What is no longer wanted

    def _no_longer_wanted(self) -> tuple[list[ExchangePlan | QueuePlan], list[ExchangePlan | QueuePlan]]:
        """What is to be deleted, queues first, and what stays."""
        gone: list[ExchangePlan | QueuePlan] = []
        stays: list[ExchangePlan | QueuePlan] = []
        for name, each in self._had.named.items():
            if name in self._names or name not in self._seen.there:
                continue
            if name in self._others:
                stays += [] if self._options.prune else [each]
                continue
            (gone if self._options.prune or self._layout.owns(name) else stays).append(each)
        return sorted(gone, key=lambda each: isinstance(each, ExchangePlan)), stays

    def _no_longer_bound(self, gone: Collection[Named]) -> tuple[list[BindingPlan], list[BindingPlan]]:
        unbind: list[BindingPlan] = []
        kept: list[BindingPlan] = []
        for identity, binding in self._had_bound.items():
            source, target = Named("exchange", binding.source), target_of(binding)
            if identity in self._bound or source in gone or target in gone:
                continue
            if identity in self._others:
                kept += [] if self._options.prune else [binding]
                continue
            ends = source in self._seen.there and target in self._seen.there
            if not ends or (self._seen.bindings is not None and identity not in self._seen.bindings):
                continue
            (unbind if self._options.prune or self._layout.covers(binding) else kept).append(binding)
        return unbind, kept

    def _released(self) -> Iterator[Change]:
        for name, each in self._mine.done.named.items():
            if self._options.prune and name not in self._names and name in self._others:
                yield change_of(Action.RELEASE, each, note="another app declares it")

    def _deletion(self, each: ExchangePlan | QueuePlan, drain: Mapping[str, Drain]) -> Change:
        foreign = [binding_name(binding) for binding in self._foreign.get(each.name, ())]
        blocked = f"others have bound it: {', '.join(foreign)}; have them unbind" if foreign else ""
        note = ""
        if isinstance(each, QueuePlan) and each.name in drain:
            exchange, key = drain[each.name]
            note = f"its messages move to {f'exchange {exchange}' if exchange else f'queue {key}'} first"
        return change_of(Action.DELETE, each, note=note, blocked=blocked, risk=Risk.LOW)


def foreign(seen: Seen, mine: Objects) -> Iterable[str]:
    """Bindings of others to what an app owns, in words."""
    names, bound = mine.named, mine.bound
    for identity, binding in (seen.bindings or {}).items():
        known = identity in bound or is_shared(binding.source) or is_shared(binding.destination)
        if not known and (target_of(binding) in names or Named("exchange", binding.source) in names):
            yield binding_name(binding)
