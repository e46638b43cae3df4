"""The retry policy: when a failed attempt is made again."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec

from brokerkit.topology.fields import canonical, seconds
from brokerkit.topology.units import LARGEST, Delay

RetryKind = Literal["exponential", "linear", "fixed", "none"]
Retries = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": LARGEST})]
Factor = Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 1})]
ExceptionNames = str | type[BaseException] | Collection[str | type[BaseException]]


def exception_name(exception: type[BaseException]) -> str:
    """The name an exception type has in a policy: ``ConnectionError`` for builtins, else ``module.QualifiedName``."""
    module = exception.__module__
    return exception.__qualname__ if module == "builtins" else f"{module}.{exception.__qualname__}"


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often, and after which delays, a failed attempt is made again.

    The delay before retry *n* (1, 2, …) is ``initial * multiplier ** (n - 1)`` when exponential,
    ``initial + step * (n - 1)`` when linear, ``initial`` when fixed, and never more than ``max_delay``.
    Fields that a kind does not use are set to fixed values, so that equal policies are equal values.

    Args:
        kind: ``exponential``, ``linear``, ``fixed`` or ``none``.
        max_retries: Retries after the first attempt. Default 3.
        initial: Seconds before the first retry. Default 1.
        step: Seconds added per retry; linear only. Default 1.
        multiplier: Factor per retry, at least 1; exponential only. Default 2.
        max_delay: The longest delay in seconds. Default 60.
        jitter: Spread the delays, so that what failed together does not come back together; exponential and linear
            only. Default True.
        retry_on: Exception types to retry, as types or names; empty means all. Kept as names.
        give_up_on: Exception types never to retry; these win over ``retry_on``. Kept as names.

    Raises:
        ValueError: A value is out of range; the message names the field and what it takes.
    """

    kind: RetryKind = "exponential"
    max_retries: Retries = 3
    initial: Delay = 1.0
    step: Delay = 1.0
    multiplier: Factor = 2.0
    max_delay: Delay = 60.0
    jitter: bool = True
    retry_on: tuple[str, ...] = ()
    give_up_on: tuple[str, ...] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            kind: RetryKind = "exponential",
            max_retries: int = 3,
            initial: float | timedelta = 1.0,
            step: float | timedelta = 1.0,
            multiplier: float = 2.0,
            max_delay: float | timedelta = 60.0,
            jitter: bool = True,
            retry_on: ExceptionNames = (),
            give_up_on: ExceptionNames = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        canonical(self, initial=seconds, step=seconds, multiplier=seconds, max_delay=seconds)
        if self.kind not in get_args(RetryKind):
            raise ValueError(f"Retry.kind takes one of {', '.join(get_args(RetryKind))}, not {self.kind!r}")
        for name, value in unused_fields(self).items():
            msgspec.structs.force_setattr(self, name, value)
        _check(self)
        canonical(self, retry_on=partial(_names, "retry_on"), give_up_on=partial(_names, "give_up_on"))

    @classmethod
    def exponential(
        cls,
        max_retries: int = 3,
        initial: float | timedelta = 1.0,
        max_delay: float | timedelta = 60.0,
        multiplier: float = 2.0,
        jitter: bool = True,
        *,
        retry_on: ExceptionNames = (),
        give_up_on: ExceptionNames = (),
    ) -> Retry:
        """Delays that grow by a factor: 1, 2, 4, … seconds by default. Arguments as for ``Retry``."""
        return cls("exponential", max_retries, initial, 0.0, multiplier, max_delay, jitter, retry_on, give_up_on)

    @classmethod
    def linear(
        cls,
        max_retries: int = 3,
        initial: float | timedelta = 1.0,
        step: float | timedelta = 1.0,
        max_delay: float | timedelta = 60.0,
        *,
        retry_on: ExceptionNames = (),
        give_up_on: ExceptionNames = (),
    ) -> Retry:
        """Delays that grow by a step: 1, 2, 3, … seconds by default. Arguments as for ``Retry``."""
        return cls("linear", max_retries, initial, step, 1.0, max_delay, True, retry_on, give_up_on)

    @classmethod
    def fixed(
        cls,
        max_retries: int = 3,
        delay: float | timedelta = 1.0,
        *,
        retry_on: ExceptionNames = (),
        give_up_on: ExceptionNames = (),
    ) -> Retry:
        """The same delay, in seconds, before each retry. Other arguments as for ``Retry``."""
        return cls("fixed", max_retries, delay, retry_on=retry_on, give_up_on=give_up_on)

    @classmethod
    def none(cls, *, retry_on: ExceptionNames = (), give_up_on: ExceptionNames = ()) -> Retry:
        """No retries: the first failure is final. The arguments are taken like those of the other kinds."""
        return cls("none", retry_on=retry_on, give_up_on=give_up_on)


def unused_fields(policy: Retry) -> dict[str, Any]:
    """The fields that the policy's kind does not use, with the values they always have."""
    unused: dict[RetryKind, dict[str, Any]] = {
        "exponential": {"step": 0.0},
        "linear": {"multiplier": 1.0},
        "fixed": {"step": 0.0, "multiplier": 1.0, "max_delay": policy.initial, "jitter": False},
        "none": {
            "max_retries": 0,
            "initial": 0.0,
            "step": 0.0,
            "multiplier": 1.0,
            "max_delay": 0.0,
            "jitter": False,
        },
    }
    return unused[policy.kind]


def _check(policy: Retry) -> None:
    retries: object = policy.max_retries
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise ValueError(f"Retry.max_retries takes a whole number >= 0, not {retries!r}")
    for field in ("initial", "step", "max_delay"):
        if not _is_number(value := getattr(policy, field)) or value < 0:
            raise ValueError(f"Retry.{field} takes seconds >= 0 (a number or a timedelta), not {value!r}")
    if not _is_number(policy.multiplier) or policy.multiplier < 1:
        raise ValueError(f"Retry.multiplier takes a number >= 1, not {policy.multiplier!r}")
    if policy.max_delay < policy.initial:
        raise ValueError(
            f"Retry.max_delay takes seconds >= initial ({policy.initial:g}), not {policy.max_delay:g}; "
            f"raise max_delay or lower initial"
        )
    if not isinstance(policy.jitter, bool):
        raise ValueError(f"Retry.jitter takes True or False, not {policy.jitter!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _names(field: str, given: Any) -> tuple[str, ...]:
    """Exception types and names, or one of them, as a sorted tuple of distinct names."""
    several = given if isinstance(given, (list, tuple, set, frozenset)) else (given,)
    return tuple(sorted({_one_name(field, item) for item in several}))


def _one_name(field: str, item: Any) -> str:
    if isinstance(item, type) and issubclass(item, BaseException):
        return exception_name(item)
    if isinstance(item, str) and item and not any(char.isspace() for char in item):
        return item
    raise ValueError(
        f"Retry.{field} takes exception types or their names "
        f"(ConnectionError, 'ConnectionError', 'package.module.Error'), not {item!r}"
    )
