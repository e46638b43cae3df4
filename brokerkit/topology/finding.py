"""What is found about a topology: where, and by which rule."""

from __future__ import annotations

import msgspec


class ObjectPath(tuple[str | int, ...]):
    """Where something is in a topology: ``queues.payments.bindings[0]``. A name may contain dots, the path knows."""

    __slots__ = ()

    @classmethod
    def of(cls, *parts: str | int) -> ObjectPath:
        """The path of these names and indexes."""
        return cls(parts)

    def __truediv__(self, part: str | int) -> ObjectPath:
        return ObjectPath((*self, part))

    def __str__(self) -> str:
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self)
        return text.removeprefix(".")


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, or not as somebody may expect.

    Args:
        rule: The code of the rule, ``BK009``; ``brokerkit topology lint --explain BK009`` explains it.
        path: What it is about.
        text: What is the matter, and what to do.
    """

    rule: str
    path: ObjectPath
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"
