"""Declaring a plan on the broker: everything is checked before anything is changed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec

from brokerkit.errors import ConfigurationError, TopologyConflict, TopologyError
from brokerkit.transports.rabbitmq import ladder
from brokerkit.transports.rabbitmq.applied import Applied
from brokerkit.transports.rabbitmq.asking import Asking, NotPermitted, OpenChannel
from brokerkit.transports.rabbitmq.plan import Arguments, BindingPlan, ExchangePlan, Plan, QueuePlan, is_shared, merged
from brokerkit.transports.rabbitmq.policies import POLICIES

__all__ = ["Applied", "OpenChannel", "apply", "heal"]

Obeyed = Callable[[str], Awaitable[Arguments]]

_LIMIT = "x-delivery-limit"
_ALTERNATE = "alternate-exchange"
_BUILT_IN = {"durable", "auto_delete", "exclusive", "internal"}
_DEAD_LETTERS = {
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
}
_BY_POLICY = ", or, where a policy sets it, name the management API in the URL: ?management="
_KINDS = {"x-queue-type", "type", *_BUILT_IN}
_log = logging.getLogger("brokerkit.rabbitmq")


async def apply(open_channel: OpenChannel, plan: Plan, applied: Applied, obeyed: Obeyed | None = None) -> None:
    """Create what is missing, after everything that is there has been compared. Idempotent; what is known to be there
    costs nothing.

    An exchange that is there and that we may not configure is taken as it is, as is what all apps share, so that an app
    of few permissions can publish, and consume from queues of mode ``verify``. Waits for another ``apply``
    with the same ``applied``.

    Args:
        open_channel: Opens a channel on the connection that topology goes over.
        plan: What must be there.
        applied: What is known to be there; is added to.
        obeyed: Tells what policies set of a queue, as arguments; None where nobody does.

    Raises:
        TopologyConflict: Something is there with other attributes; nothing was changed.
        TopologyError: Something of mode ``verify`` is missing; nothing was changed.
        ConfigurationError: A permission is missing, or the broker does not take an argument.
        TransportError: The connection was lost, or the broker does not answer.
    """
    async with applied.lock:
        wanted = _of_interest(applied.lacking(plan))
        async with Asking(open_channel) as asking:
            missing = await _compare(asking, wanted, applied, obeyed)
            await _create(asking, missing)
            await _bind(asking, wanted.bindings)
        applied.add(wanted)


async def heal(open_channel: OpenChannel, plan: Plan, key: str, applied: Applied) -> None:
    """Declare a source again, one of whose queues somebody deleted, with all that leads to it.

    Args:
        open_channel: As for ``apply``.
        plan: The plan that the source is part of.
        key: The source's key.
        applied: As for ``apply``.

    Raises:
        As ``apply``.
    """
    part = plan.of_source(key)
    elsewhere = applied.forget(part)
    await apply(open_channel, merged([part, elsewhere]), applied)


def _of_interest(plan: Plan) -> Plan:
    """Without what is trusted to be there, and without the bindings of what somebody else declares."""
    return Plan(
        tuple(exchange for exchange in plan.exchanges if exchange.mode != "trust"),
        tuple(queue for queue in plan.queues if queue.mode != "trust"),
        tuple(binding for binding in plan.bindings if binding.mode == "own"),
    )


async def _compare(asking: Asking, wanted: Plan, applied: Applied, obeyed: Obeyed | None) -> Plan:
    """What is missing and to be created; raises when something differs, or is missing and not ours to create."""
    others: list[str] = []
    missing_exchanges = [
        each for each in wanted.exchanges if not await _exchange_is_there(asking, each, applied, others)
    ]
    missing_queues = [each for each in wanted.queues if not await _queue_is_there(asking, each, others, obeyed)]
    problems = [*not_there([*missing_exchanges, *missing_queues]), *others]
    if problems:
        raise TopologyError(problems)
    return Plan(tuple(missing_exchanges), tuple(missing_queues))


async def _create(asking: Asking, missing: Plan) -> None:
    for exchange in missing.exchanges:
        await asking.declare(exchange)
    for queue in missing.queues:
        await asking.declare(queue)


async def _bind(asking: Asking, bindings: Sequence[BindingPlan]) -> None:
    for binding in bindings:
        try:
            await asking.bind(binding)
        except NotPermitted:
            if not (is_shared(binding.source) and is_shared(binding.destination)):
                raise
            _log.debug("the binding %s -> %s is taken as it is", binding.source, binding.destination)


def not_there(missing: Iterable[ExchangePlan | QueuePlan]) -> list[str]:
    """What to say of what is missing and somebody else's to declare."""
    return [
        f"{'exchange' if isinstance(each, ExchangePlan) else 'queue'} {each.name!r}: it is not on the broker, and "
        f"mode={each.mode!r} does not create it; have its owner declare it, or set mode='own'"
        for each in missing
        if each.mode != "own"
    ]


async def _exchange_is_there(asking: Asking, exchange: ExchangePlan, applied: Applied, unlike: list[str]) -> bool:
    if not await asking.exists("exchange", exchange.name):
        return False
    if exchange.mode == "verify":
        unlike += await _unlike(asking, exchange)
        return True
    try:
        differing = await differences(asking, exchange)
    except NotPermitted:
        if exchange.arguments.get(_ALTERNATE) == ladder.ALTERNATE:
            _take_without_alternate(exchange.name, "we may not look at its alternate exchange", applied)
        return True
    _refuse([conflict for conflict in differing if not _only_lacks_ours(conflict)])
    if differing:
        _take_without_alternate(exchange.name, "it was made without an alternate exchange", applied)
    return True


def _only_lacks_ours(conflict: TopologyConflict) -> bool:
    wanted, found = conflict.wanted, conflict.found
    return conflict.attribute == _ALTERNATE and wanted == ladder.ALTERNATE and found is None


def _take_without_alternate(name: str, why: str, applied: Applied) -> None:
    _log.warning("exchange %s takes no delayed messages: %s (%s is needed)", name, why, ladder.ALTERNATE)
    applied.without_alternate.add(name)


async def _queue_is_there(asking: Asking, queue: QueuePlan, unlike: list[str], obeyed: Obeyed | None) -> bool:
    if not await asking.exists("queue", queue.name):
        return False
    if queue.mode == "verify":
        unlike += await _unlike(asking, queue, obeyed)
        return True
    try:
        differing = await differences(asking, queue)
    except NotPermitted:
        if not is_shared(queue.name):
            raise
        return True
    _refuse([conflict for conflict in differing if not (queue.backstop and _is_lenient(conflict))])
    for conflict in differing:
        _log.warning(
            "%s has %s=%s rather than %s, which will do; a queue made before RabbitMQ 4.0 has none, and gives up a "
            "message after 20 deliveries unless a policy says otherwise",
            *(conflict.entity, _LIMIT, conflict.found, conflict.wanted),
        )
    return True


async def _unlike(asking: Asking, wanted: ExchangePlan | QueuePlan, obeyed: Obeyed | None = None) -> list[str]:
    """In what something of mode ``verify`` is not as described, as far as we may ask."""
    try:
        found = tolerated(wanted, await differences(asking, wanted))
    except NotPermitted:
        _log.debug("%s is there; whether it is as described this user may not ask", wanted.name)
        return []
    if found and obeyed is not None and isinstance(wanted, QueuePlan):
        by_policy = await obeyed(wanted.name)
        found = [each for each in found if each.found is not None or by_policy.get(each.attribute) != each.wanted]
    return unlike(found)


def unlike(found: Iterable[TopologyConflict]) -> list[str]:
    """What to say of differences in what somebody else declares."""
    return [
        f"{conflict.entity}: {conflict.attribute} is {conflict.found!r} on the broker, and {conflict.wanted!r} here; "
        f"make the two agree{_BY_POLICY if conflict.found is None and conflict.attribute in POLICIES else ''}"
        for conflict in found
    ]


def tolerated(wanted: ExchangePlan | QueuePlan, differing: Sequence[TopologyConflict]) -> list[TopologyConflict]:
    """The differences without those that will do. Of what somebody else declares it is not asked what brokerkit would
    add by itself: dead letters are published then, and limits of deliveries counted."""
    if isinstance(wanted, ExchangePlan):
        return [each for each in differing if not _only_lacks_ours(each)]
    lacking = {each.attribute for each in differing if each.found is None}
    kept = [each for each in differing if not (wanted.backstop and _is_lenient(each))]
    if wanted.mode == "own":
        return kept
    added = _DEAD_LETTERS if "x-max-length" in wanted.arguments else _DEAD_LETTERS | {"x-overflow"}
    return [each for each in kept if each.attribute not in added & lacking]


def _is_lenient(conflict: TopologyConflict) -> bool:
    """Whether it is a delivery limit that was not set, or lets through at least what ours would."""
    found, wanted = conflict.found, conflict.wanted
    if conflict.attribute != _LIMIT or not isinstance(wanted, int):
        return False
    return found is None or found == -1 or (isinstance(found, int) and 0 <= wanted <= found)


def _refuse(differing: Sequence[TopologyConflict]) -> None:
    """Raise the difference that says most; the others follow from it as often as not, and are notes."""
    if not differing:
        return
    first = min(differing, key=lambda conflict: conflict.attribute not in _KINDS)
    for conflict in differing:
        if conflict is not first:
            first.add_note(f"and {conflict.attribute}={conflict.found!r}, where {conflict.wanted!r} is wanted")
    raise first


async def differences(asking: Asking, declared: ExchangePlan | QueuePlan) -> list[TopologyConflict]:
    """All in which a declaration differs from what is there: the broker names one at a time, so what it names is taken
    over into the next question."""
    found: list[TopologyConflict] = []
    asked: ExchangePlan | QueuePlan | None = declared
    while asked is not None:
        try:
            await asking.declare(asked)
            return found
        except TopologyConflict as conflict:
            repeated = any(conflict.attribute == known.attribute for known in found)
            found.append(conflict)
            asked = None if repeated else _as_found(asked, conflict)
        except ConfigurationError:
            if not found:
                raise
            return found
    return found


def _as_found(declared: ExchangePlan | QueuePlan, conflict: TopologyConflict) -> ExchangePlan | QueuePlan | None:
    """The declaration with one attribute as it is at the broker; None where we have no word for that."""
    name, found = conflict.attribute, conflict.found
    if name in declared.__struct_fields__:
        return msgspec.structs.replace(declared, **{name: found})
    if name in _BUILT_IN:
        return None
    others = {key: kept for key, kept in declared.arguments.items() if key != name}
    return msgspec.structs.replace(declared, arguments=others if found is None else {**others, name: found})
