"""What the broker says of an object that exists with other attributes, as values. Pure."""

from __future__ import annotations

import re

import msgspec

from brokerkit.topology import HeaderValue

_TEXT = re.compile(
    r"inequivalent arg '(?P<attribute>[^']+)' for (?P<entity>exchange|queue) '.*' in vhost '.*': "
    r"received (?P<wanted>.*?) but current is (?P<found>.*)",
    re.DOTALL,
)
_TYPED = re.compile(r"the value '(?P<value>.*)' of type '(?P<type>\w+)'", re.DOTALL)
_TEXTS = {"longstr", "binary"}
_UNSAID = {"x-queue-type": "classic"}
"""What an argument is where the declaration did not say."""


class Inequivalent(msgspec.Struct, frozen=True):
    """The first attribute in which a declaration differs from what is there.

    Args:
        attribute: ``durable``, ``type``, ``auto_delete``, … or the name of an argument.
        found: Its value at the broker, None where it has none.
    """

    attribute: str
    found: HeaderValue


def parse_inequivalent(text: str) -> Inequivalent | None:
    """Read a ``PRECONDITION_FAILED - inequivalent arg …``; None where it says something else.

    The broker names the types of values only where one of the two is missing, so of two values that are both there
    the found one is read as a number or truth value if it looks like one.
    """
    said = _TEXT.search(text)
    if said is None:
        return None
    found = _value(said["found"])
    return Inequivalent(said["attribute"], _UNSAID.get(said["attribute"]) if found is None else found)


def _value(text: str) -> HeaderValue:
    if text == "none":
        return None
    typed = _TYPED.fullmatch(text)
    if typed is not None and typed["type"] in _TEXTS:
        return typed["value"]
    return _plain(typed["value"] if typed is not None else text.removeprefix("'").removesuffix("'"))


def _plain(text: str) -> HeaderValue:
    if text in {"true", "false"}:
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else text
