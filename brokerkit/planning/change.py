"""What a plan is: the changes that lead from what a broker has to what an app declares."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from typing import Literal

import msgspec

from brokerkit.topology import Topology

Kind = Literal["exchange", "queue", "log", "group", "binding", "policy"]
Replacing = Literal["refuse", "side-by-side"]


class Action(enum.Enum):
    """What happens to an object."""

    CREATE = "create"
    ADOPT = "adopt"
    """It is there already, as wanted: from now on it counts as this app's, too."""
    BIND = "bind"
    UPDATE = "update"
    """In place: nothing that it holds is moved to another object."""
    REPLACE = "replace"
    """It cannot be changed: another one takes its place, and what it holds moves there."""
    UNBIND = "unbind"
    DELETE = "delete"
    RELEASE = "release"
    """It stays, because another app declares it; it no longer counts as this one's."""


class Risk(enum.Enum):
    """What may go wrong with a change."""

    NONE = "none"
    LOW = "low"
    HIGH = "high"
    LOSS = "loss"
    """Messages are deleted."""


class Difference(msgspec.Struct, frozen=True):
    """One attribute that is not as wanted.

    Args:
        attribute: Its name, as in the descriptor or as the broker calls it.
        found: Its value at the broker, as text; "" for none.
        wanted: The value it will have, likewise.
    """

    attribute: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.attribute}: {self.found or 'none'} -> {self.wanted or 'none'}"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan.

    Args:
        action: What happens.
        kind: To what kind of object.
        name: Its name; of a binding, where it leads from and to.
        target: What a binding leads to, as kind and name; else None.
        differences: Which attributes change.
        messages: How many are in the queue, group or log that is touched; None where the broker does not tell.
        consumers: How many read it; None likewise.
        risk: What may go wrong.
        note: What to know about it, "" for nothing.
        blocked: Why ``apply`` refuses it as things are, and what to do; "" where it does not.
        loses: Messages that it deletes.
    """

    action: Action
    kind: Kind
    name: str
    target: tuple[Kind, str] | None = None
    differences: tuple[Difference, ...] = ()
    messages: int | None = 0
    consumers: int | None = 0
    risk: Risk = Risk.NONE
    note: str = ""
    blocked: str = ""
    loses: int = 0

    @property
    def identity(self) -> tuple[str, ...]:
        """What is the same for the same change, however much is in the queue by now."""
        return (self.action.value, self.kind, self.name, *map(str, self.differences))


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to plan.

    Args:
        prune: Also remove what the app owns and no longer declares. Default False.
        replace: What to do with attributes that cannot be changed: ``refuse``, or ``side-by-side``: another object
            takes over, and what the old one holds moves there while workers go on. Default ``refuse``.
    """

    prune: bool = False
    replace: Replacing = "refuse"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that a topology needs at a broker.

    Args:
        wanted: The topology, named by its app.
        broker: The broker and its version.
        options: How it was planned.
        changes: In the order in which they are carried out.
        leftovers: Objects that the app owns and no longer declares, which stay without ``prune``.
        notes: What to know about the plan as a whole.
    """

    wanted: Topology
    broker: str
    options: Options = Options()
    changes: tuple[Change, ...] = ()
    leftovers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def loses(self) -> int:
        """Messages that it deletes."""
        return sum(change.loses for change in self.changes)

    @property
    def blocked(self) -> Iterator[Change]:
        """The changes that ``apply`` refuses as things are."""
        return (change for change in self.changes if change.blocked)

    @property
    def fingerprint(self) -> str:
        """The same for plans that do the same; the numbers of messages do not count."""
        said = [self.wanted.name, self.broker.partition(" ")[0], *(change.identity for change in self.changes)]
        return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:16]


def text_of(value: object) -> str:
    """An attribute's value as text, "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value, order="deterministic").decode()
