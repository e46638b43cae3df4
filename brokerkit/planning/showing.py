"""A plan as text, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from brokerkit.planning.change import Action, Change, Plan, Risk

_SIGNS = {
    Action.CREATE: "+",
    Action.ADOPT: "=",
    Action.BIND: "+",
    Action.UPDATE: "~",
    Action.REPLACE: "!",
    Action.UNBIND: "-",
    Action.DELETE: "-",
    Action.RELEASE: "=",
}


def lines(plan: Plan, *, nothing: str = "nothing to do") -> Iterator[str]:
    """What a plan does, what speaks against it, and what stays.

    Args:
        plan: The plan.
        nothing: What to say when it is empty.
    """
    for change in plan.changes:
        yield from _change(change)
    for name in plan.leftovers:
        yield f"  {name}: no longer declared; stays unless --prune removes it"
    for note in plan.notes:
        yield f"note: {note}"
    yield summary(plan) if plan.changes else nothing


def summary(plan: Plan) -> str:
    """What a plan does, in one line."""
    counted = Counter(change.action.value for change in plan.changes)
    text = ", ".join(f"{count} to {action}" for action, count in counted.items())
    refused = sum(1 for _ in plan.blocked)
    if plan.loses:
        text += f"; deletes {_messages(plan.loses)}: only with --allow-data-loss {plan.loses}"
    return f"{text}; {refused} refused as things are" if refused else text


def diff_lines(plan: Plan) -> Iterator[str]:
    """The same as a difference: ``-`` what the broker has, ``+`` what is declared."""
    for change in plan.changes:
        head = f"{change.kind} {change.name}"
        if change.action in (Action.CREATE, Action.BIND):
            yield f"+ {head}"
        elif change.action in (Action.DELETE, Action.UNBIND):
            yield f"- {head}"
        elif change.differences:
            yield f"  {head}"
            for each in change.differences:
                if each.found:
                    yield f"-   {each.attribute}: {each.found}"
                if each.wanted:
                    yield f"+   {each.attribute}: {each.wanted}"
        else:
            yield f"= {head}: {change.action.value}"


def _change(change: Change) -> Iterator[str]:
    what = change.name if change.kind == "binding" else f"{change.kind} {change.name}"
    yield f"{_SIGNS[change.action]} {change.action.value} {what}{_held(change)}{_risk(change)}"
    for difference in change.differences:
        yield f"    {difference}"
    if change.note:
        yield f"    {change.note}"
    if change.blocked:
        yield f"    refused: {change.blocked}"


def _held(change: Change) -> str:
    if change.action is Action.CREATE or (change.messages == 0 and change.consumers == 0):
        return ""
    messages = "? messages" if change.messages is None else _messages(change.messages)
    consumers = "? consumers" if change.consumers is None else _count(change.consumers, "consumer")
    return f"  ({messages}, {consumers})"


def _risk(change: Change) -> str:
    if change.risk is Risk.LOSS:
        return f"  risk: loses {_messages(change.loses)}" if change.loses else "  risk: loss"
    return "" if change.risk is Risk.NONE else f"  risk: {change.risk.value}"


def _messages(number: int) -> str:
    return _count(number, "message")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
