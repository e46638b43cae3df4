from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from brokerkit.topology import Retry, exception_name


class Refused(Exception):
    pass


def test_the_default_policy_is_three_retries_from_one_second_doubling_to_a_minute_with_jitter() -> None:
    assert Retry.exponential() == Retry("exponential", 3, 1.0, 0.0, 2.0, 60.0, True)
    assert Retry() == Retry.exponential()


def test_the_named_kinds_set_the_fields_they_use_and_neutralise_the_others() -> None:
    fields = ("kind", "max_retries", "initial", "step", "multiplier", "max_delay", "jitter")

    def values(policy: Retry) -> list[object]:
        return [getattr(policy, field) for field in fields]

    assert values(Retry.linear(4, 1, 5, 30)) == ["linear", 4, 1.0, 5.0, 1.0, 30.0, True]
    assert values(Retry.fixed(2, 90)) == ["fixed", 2, 90.0, 0.0, 1.0, 90.0, False]
    assert values(Retry.none()) == ["none", 0, 0.0, 0.0, 1.0, 0.0, False]


def test_a_policy_written_in_a_file_equals_the_one_made_in_code() -> None:
    assert msgspec.convert({"kind": "fixed", "max_retries": 2, "initial": 90}, Retry) == Retry.fixed(2, 90)
    assert msgspec.convert({"kind": "none"}, Retry) == Retry.none()
    assert msgspec.convert({"kind": "linear", "step": 5}, Retry) == Retry.linear(step=5)


def test_delays_may_be_timedeltas() -> None:
    minute = timedelta(minutes=1)
    assert Retry.exponential(initial=minute, max_delay=2 * minute) == Retry.exponential(initial=60, max_delay=120)
    assert Retry.linear(3, minute, minute, 3 * minute) == Retry.linear(3, 60, 60, 180)
    assert Retry.fixed(3, minute) == Retry.fixed(3, 60)


def test_exception_types_are_kept_as_sorted_distinct_names() -> None:
    policy = Retry.fixed(3, 1.0, retry_on=(TimeoutError, ConnectionError, "ConnectionError"), give_up_on=Refused)
    assert policy.retry_on == ("ConnectionError", "TimeoutError")
    assert policy.give_up_on == (f"{__name__}.Refused",)


def test_a_builtin_exception_has_its_plain_name_and_any_other_its_module() -> None:
    assert exception_name(ConnectionError) == "ConnectionError"
    assert exception_name(Refused) == f"{__name__}.Refused"


@pytest.mark.parametrize(
    "policy",
    [
        Retry.exponential(retry_on=(Refused, OSError)),
        Retry.linear(3, 1, 1, 9),
        Retry.fixed(1, 0),
        Retry.none(give_up_on=["pkg.Error"]),
    ],
)
def test_a_policy_survives_json_unchanged(policy: Retry) -> None:
    assert msgspec.json.decode(msgspec.json.encode(policy), type=Retry) == policy


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Retry.exponential(max_retries=-1), "max_retries"),
        (lambda: Retry.exponential(max_retries=True), "max_retries"),
        (lambda: Retry.exponential(max_retries=1.5), "max_retries"),  # type: ignore[arg-type]
        (lambda: Retry.exponential(initial=-0.1), "initial"),
        (lambda: Retry.exponential(initial=float("nan")), "initial"),
        (lambda: Retry.exponential(initial="1s"), "initial"),  # type: ignore[arg-type]
        (lambda: Retry.exponential(max_delay=float("inf")), "max_delay"),
        (lambda: Retry.exponential(initial=10, max_delay=9), "max_delay"),
        (lambda: Retry.exponential(multiplier=0.5), "multiplier"),
        (lambda: Retry.exponential(jitter=0.2), "jitter"),  # type: ignore[arg-type]
        (lambda: Retry.linear(step=-1), "step"),
        (lambda: Retry.fixed(delay=-1), "initial"),
        (lambda: Retry("quadratic"), "kind"),  # type: ignore[arg-type]
        (lambda: Retry.fixed(retry_on=(int,)), "retry_on"),  # type: ignore[arg-type]
        (lambda: Retry.fixed(give_up_on="two words"), "give_up_on"),
        (lambda: Retry.fixed(give_up_on=""), "give_up_on"),
    ],
)
def test_a_value_out_of_range_is_refused_at_once_and_named(make: Callable[[], Retry], field: str) -> None:
    with pytest.raises(ValueError, match=rf"Retry\.{field} takes"):
        make()
