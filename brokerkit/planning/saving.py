"""A plan as a file, to be read by people and applied later."""

from __future__ import annotations

from typing import Any

import msgspec

from brokerkit.errors import ConfigurationError
from brokerkit.planning.change import Plan

FORMAT = 1


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    brokerkit_plan: int
    fingerprint: str
    plan: Plan


def as_data(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values: what ``--json`` prints and a file holds."""
    data: dict[str, Any] = msgspec.to_builtins(_Saved(FORMAT, plan.fingerprint, plan))
    return data


def to_file(plan: Plan) -> bytes:
    """A plan as the text of a file."""
    return msgspec.json.format(msgspec.json.encode(as_data(plan)), indent=2) + b"\n"


def from_file(text: bytes) -> Plan:
    """A plan that was saved.

    Raises:
        ConfigurationError: It is none, was changed by hand, or is of another version.
    """
    try:
        saved = msgspec.json.decode(text, type=_Saved)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(
            f"this is no plan: {error}; make one with brokerkit topology plan --out plan.json"
        ) from None
    if saved.brokerkit_plan != FORMAT:
        raise ConfigurationError(f"the plan has format {saved.brokerkit_plan}, this version reads {FORMAT}; plan again")
    if saved.plan.fingerprint != saved.fingerprint:
        raise ConfigurationError("the plan was changed after it was made; plan again")
    return saved.plan
